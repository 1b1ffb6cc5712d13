"""Does a value fit a schema, and if not: where, and what was expected, in words that never echo the value."""

from itertools import islice
from typing import Any

import jsonschema_rs

from kit.errors import InvalidRequest
from skills.schemas.nodes import pointer, size, text_of
from skills.schemas.rules import compiled

MAX_FAULTS = 5
_SMALL_ENOUGH_TO_LIST = 2_000  # Listing faults costs time for each; a huge value gets its first one only.
_LONGEST_NAME = 40
_LONGEST_MESSAGE = 300
_MOST_KNOWN = 512
_known: dict[int, tuple[dict[str, Any], jsonschema_rs.Draft202012Validator]] = {}


def validate(schema: dict[str, Any], value: Any, *, at: str = "") -> None:
    """Raise InvalidRequest unless the value fits.

    The error carries `path` (JSON pointer of the first fault, under `at`) and `errors`: up to five
    `{path, message}`.
    """
    validator = _validator(schema)
    try:
        if validator.is_valid(value):
            return
        errors = _faults(validator, value)
    except (ValueError, OverflowError, RecursionError) as impossible:
        raise InvalidRequest("The value is not JSON that can be read.", path=at, errors=[]) from impossible
    found = [{"path": at + path, "message": message} for path, message in map(_worded, errors)]
    first = found[0]
    raise InvalidRequest(f"{first['path'] or 'The value'}: {first['message']}", path=first["path"], errors=found)


def _validator(schema: dict[str, Any]) -> jsonschema_rs.Draft202012Validator:
    """Schemas are not changed once they are used; writing one out to look it up costs more than checking by it."""
    known = _known.get(id(schema))
    if known is None or known[0] is not schema:
        while len(_known) >= _MOST_KNOWN:
            _known.pop(next(iter(_known)), None)
        known = _known[id(schema)] = (schema, compiled(text_of(schema)))
    return known[1]


def with_defaults(schema: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    """Return the value with the top-level defaults of its schema put in."""
    defaults = {
        name: one["default"]
        for name, one in schema.get("properties", {}).items()
        if isinstance(one, dict) and "default" in one and name not in value
    }
    return {**value, **defaults}


def _faults(validator: jsonschema_rs.Draft202012Validator, value: Any) -> list[jsonschema_rs.ValidationError]:
    nodes, _ = size(value, most_nodes=_SMALL_ENOUGH_TO_LIST, most_depth=_SMALL_ENOUGH_TO_LIST)
    if nodes <= _SMALL_ENOUGH_TO_LIST:
        return list(islice(validator.iter_errors(value), MAX_FAULTS))
    try:
        validator.validate(value)
    except jsonschema_rs.ValidationError as first:
        return [first]
    return []


def _worded(error: jsonschema_rs.ValidationError) -> tuple[str, str]:
    where, details = list(error.instance_path), error.kind.as_dict()
    match error.kind.name:
        case "required":
            return pointer([*where, _short(details["property"])]), "is required and missing."
        case "additionalProperties" | "unevaluatedProperties":
            unknown = [_short(name) for name in details["unexpected"][:3]]
            return pointer([*where, unknown[0]]), f"is not a field here (unknown: {', '.join(unknown)})."
        case _:
            return pointer([_short(part) for part in where]), _expectation(error, details)[:_LONGEST_MESSAGE]


def _expectation(error: jsonschema_rs.ValidationError, details: dict[str, Any]) -> str:
    match error.kind.name:
        case "type":
            names = details.get("types") or [details.get("type")]
            return f"must be of type {' or '.join(map(str, names))}."
        case "enum":
            options = [text_of(one) if len(text_of(one)) <= _LONGEST_NAME else "…" for one in details["options"][:8]]
            return f"must be one of {', '.join(options)}{', …' if len(details['options']) > len(options) else ''}."
        case "pattern" if details["pattern"] == r"\S":
            return "must not be blank."
        case "anyOf" | "oneOf":
            return "fits none of the forms it may have."
        case name if name in _LIMITS:
            return _LIMITS[name].format(_number(details.get("limit")))
        case _:
            return error.message.replace('"the value"', "the value") + "."


_LIMITS = {
    "minLength": "must have at least {} characters.",
    "maxLength": "must have at most {} characters.",
    "minItems": "must have at least {} items.",
    "maxItems": "must have at most {} items.",
    "minimum": "must be at least {}.",
    "maximum": "must be at most {}.",
    "exclusiveMinimum": "must be more than {}.",
    "exclusiveMaximum": "must be less than {}.",
    "minProperties": "must have at least {} fields.",
    "maxProperties": "must have at most {} fields.",
    "uniqueItems": "must not hold the same item twice.",
}


def _number(limit: Any) -> str:
    return f"{limit:,}" if isinstance(limit, int) else str(limit)


def _short(part: Any) -> Any:
    if isinstance(part, str) and len(part) > _LONGEST_NAME:
        return part[:_LONGEST_NAME] + "…"
    return part
