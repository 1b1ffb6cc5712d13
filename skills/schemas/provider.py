"""The part of JSON Schema that the Messages API's structured output enforces.

Every object gets `additionalProperties: false`; keywords that are not enforced move into the description,
where the model still reads them, and our own validation of the answer enforces them afterwards. What
cannot be said there at all (a value without a type, an object with free keys) is refused at once, so that
no call is paid for whose answer could not fit. Which keywords are enforced: the provider's page on
structured outputs and the schema transformation of its Python SDK 2.11.
"""

from typing import Any

from kit.errors import InvalidRequest
from skills.schemas.nodes import escaped, text_of

_FORMATS = frozenset(["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"])
_TYPES = frozenset(["object", "array", "string", "integer", "number", "boolean", "null"])
_ANNOTATIONS = frozenset(["$schema", "$comment", "title", "description", "default", "examples", "deprecated"])
_KEYWORDS_OF = {
    "object": {"properties", "required", "additionalProperties", "minProperties", "maxProperties", "patternProperties",
               "propertyNames", "dependentRequired", "dependentSchemas", "unevaluatedProperties"},
    "array": {"items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains", "minContains", "maxContains",
              "unevaluatedItems"},
    "string": {"format", "pattern", "minLength", "maxLength"},
    "number": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"},
}  # fmt: skip
_MERGEABLE = frozenset(["type", "properties", "required", "additionalProperties", "title", "description"])

Schema = dict[str, Any]


def provider_schema(schema: Schema, *, at: str = "") -> Schema:
    """Rewrite a checked schema for the API; raises InvalidRequest where that cannot be done."""
    rest = dict(schema)
    strict: Schema = {}
    for keyword in ("$defs", "definitions"):
        if keyword in rest:
            strict[keyword] = {
                name: _inner(inside, at=f"{at}/{keyword}/{escaped(name)}") for name, inside in rest.pop(keyword).items()
            }
    if "$ref" in rest:
        return {**strict, "$ref": rest["$ref"]}
    for keyword in ("description", "title"):
        if keyword in rest:
            strict[keyword] = rest.pop(keyword)
    _shape(strict, rest, at=at)
    return _described(strict, rest)


def _inner(schema: Any, *, at: str) -> Schema:
    if not isinstance(schema, dict):
        raise _refusal("must say what it holds: give it a `type`.", at)
    return provider_schema(schema, at=at)


def _shape(strict: Schema, rest: Schema, *, at: str) -> None:
    """Move what the API enforces from `rest` to `strict`."""
    if _literals(strict, rest):
        return
    kind = rest.pop("type", None)
    if any(keyword in rest for keyword in ("anyOf", "oneOf")):
        _choice(strict, rest, kind=kind, at=at)
    elif "allOf" in rest:
        _merge_all(strict, rest, kind=kind, at=at)
    elif isinstance(kind, list):
        strict["anyOf"] = [provider_schema(_only(rest, one), at=at) for one in kind]
        rest.clear()
    elif kind in _TYPES:
        strict["type"] = kind
        if typed := _BY_TYPE.get(kind):
            typed(strict, rest, at=at)
    else:
        raise _refusal("must have a `type`, an `enum`, a `const`, an `anyOf` or a `$ref`.", at)


def _literals(strict: Schema, rest: Schema) -> bool:
    options = rest.get("enum")
    if isinstance(options, list) and options and all(map(_is_primitive, options)):
        strict["enum"] = list(rest.pop("enum"))
    if "const" in rest and _is_primitive(rest["const"]):
        strict["const"] = rest.pop("const")
    found = "enum" in strict or "const" in strict
    if found:
        rest.pop("type", None)
    return found


def _choice(strict: Schema, rest: Schema, *, kind: Any, at: str) -> None:
    keyword = "anyOf" if "anyOf" in rest else "oneOf"
    strict["anyOf"] = [
        _inner(_typed(one, kind), at=f"{at}/{keyword}/{position}") for position, one in enumerate(rest.pop(keyword))
    ]
    if "properties" in rest or "items" in rest:
        raise _refusal(f"cannot have `properties` or `items` next to `{keyword}`; put them into each form.", at)


def _typed(form: Any, kind: Any) -> Any:
    has_shape = isinstance(form, dict) and {"type", "enum", "const", "anyOf", "oneOf", "allOf", "$ref"} & form.keys()
    return {"type": kind, **form} if isinstance(form, dict) and kind is not None and not has_shape else form


def _merge_all(strict: Schema, rest: Schema, *, kind: Any, at: str) -> None:
    """Fold `allOf` into one object: with `additionalProperties: false` in each part, none could ever fit."""
    parts = [*rest.pop("allOf"), {key: rest.pop(key) for key in ("properties", "required") if key in rest}]
    merged: Schema = {"type": kind or "object", "properties": {}, "required": []}
    for part in parts:
        if not isinstance(part, dict) or not part.keys() <= _MERGEABLE or part.get("type", "object") != "object":
            raise _refusal("can hold only objects with `properties` and `required`; write them as one.", f"{at}/allOf")
        merged["properties"].update(part.get("properties", {}))
        merged["required"] += [name for name in part.get("required", []) if name not in merged["required"]]
    if merged["type"] != "object":
        raise _refusal("can only combine objects.", f"{at}/allOf")
    strict.update(provider_schema(merged, at=at))


def _object(strict: Schema, rest: Schema, *, at: str) -> None:
    properties, others = rest.pop("properties", {}), rest.pop("additionalProperties", None)
    if not properties and others is not False:
        raise _refusal("must name its `properties`; an object with free keys cannot be promised.", at)
    strict["properties"] = {
        name: _inner(inside, at=f"{at}/properties/{escaped(name)}") for name, inside in properties.items()
    }
    required = rest.pop("required", None)
    if required is not None:
        if unknown := [name for name in required if name not in properties]:
            raise _refusal(f"requires `{unknown[0][:40]}`, which is not among its `properties`.", f"{at}/required")
        strict["required"] = list(required)
    strict["additionalProperties"] = False


def _array(strict: Schema, rest: Schema, *, at: str) -> None:
    if "items" not in rest:
        raise _refusal("must say what its `items` are.", at)
    strict["items"] = _inner(rest.pop("items"), at=f"{at}/items")
    if rest.get("minItems") in (0, 1):
        strict["minItems"] = rest.pop("minItems")


def _string(strict: Schema, rest: Schema, *, at: str) -> None:
    if rest.get("format") in _FORMATS:
        strict["format"] = rest.pop("format")


_BY_TYPE = {"object": _object, "array": _array, "string": _string}


def _only(schema: Schema, kind: str) -> Schema:
    """Return the part of a schema that speaks of one of its several types."""
    mine = _KEYWORDS_OF.get("number" if kind == "integer" else kind, set())
    others = set().union(*_KEYWORDS_OF.values()) - mine
    return {"type": kind, **{key: inside for key, inside in schema.items() if key not in others}}


def _described(strict: Schema, rest: Schema) -> Schema:
    left = {key: inside for key, inside in rest.items() if key not in _ANNOTATIONS}
    if left:
        said = ", ".join(f"{key}: {text_of(inside)}" for key, inside in left.items())
        strict["description"] = "\n\n".join(filter(None, [strict.get("description"), f"{{{said}}}"]))
    return strict


def _is_primitive(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def _refusal(message: str, at: str) -> InvalidRequest:
    wording = f"{at or 'The schema'}: {message}"
    return InvalidRequest(wording, path=at, errors=[{"path": at, "message": message}])
