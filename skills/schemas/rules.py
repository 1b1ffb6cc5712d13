"""Which JSON Schemas are taken from people one does not know.

Draft 2020-12, small, shallow, complete in itself (a `$ref` points to the schema's own `$defs`), without
recursion, cheap to apply (what `$ref`s unfold to is bounded too) and with patterns that a linear-time
engine can run.
"""

import json
from functools import lru_cache
from typing import Any

import jsonschema_rs

from kit.errors import InvalidRequest
from skills.schemas.nodes import children, pointer, size, text_of

MAX_BYTES = 64 * 1024
MAX_DEPTH = 16
MAX_NODES = 5_000
MAX_UNFOLDED = 10_000
MAX_PATTERNS = 20
MAX_CHAIN = 12
_MAX_JSON_DEPTH = 2 * MAX_DEPTH + 8
_PATTERN_BYTES = 1 << 18
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REFUSED = ("$id", "$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveRef", "$recursiveAnchor", "$vocabulary")


def check_schema(schema: Any, *, at: str = "") -> None:
    """Raise InvalidRequest, with the pointer of the fault under `at`, unless the schema is taken."""
    if not isinstance(schema, dict):
        raise _refusal("A schema must be a JSON object.", at)
    nodes, depth = size(schema, most_nodes=MAX_NODES, most_depth=_MAX_JSON_DEPTH)
    if nodes > MAX_NODES:
        raise _refusal(f"The schema has over {MAX_NODES:,} values.", at)
    if depth > _MAX_JSON_DEPTH:
        raise _refusal(f"The schema is nested over {MAX_DEPTH} schemas deep.", at)
    try:
        text = text_of(schema)
    except (TypeError, ValueError):
        raise _refusal("The schema is not JSON that can be read.", at) from None
    if len(text) > MAX_BYTES:
        raise _refusal(f"The schema is over {MAX_BYTES:,} bytes.", at)
    if (fault := _fault(text)) is not None:
        raise _refusal(fault[1], at + fault[0])


def compiled(text: str) -> jsonschema_rs.Draft202012Validator:
    """Compile a checked schema, given as `text_of` writes it, or return the one it has."""
    return _compiled(text)


@lru_cache(maxsize=128)
def _compiled(text: str) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(
        text,
        pattern_options=jsonschema_rs.RegexOptions(size_limit=_PATTERN_BYTES),
        validate_formats=True,
        offline=True,
        mask="the value",
    )


@lru_cache(maxsize=256)
def _fault(text: str) -> tuple[str, str] | None:
    """Return the pointer and the wording of what is wrong, or None; cached by the schema's text."""
    fault = _Walk(json.loads(text)).fault()
    if fault is not None:
        return fault
    try:
        _compiled(text)
    except jsonschema_rs.ValidationError as error:
        return pointer(error.instance_path), f"This is not valid JSON Schema (draft 2020-12): {_wording(error)}"
    except ValueError:
        return "", "This is not valid JSON Schema (draft 2020-12)."
    return None


def _wording(error: jsonschema_rs.ValidationError) -> str:
    if error.kind.name == "format":
        return (
            "the pattern is not one the linear-time engine takes (no look-around, no back-references, not too large)."
        )
    keyword = error.instance_path[-1] if error.instance_path else "schema"
    return f"`{str(keyword)[:60]}` does not have a value it may have."


class _Walk:
    """One pass over a schema's subschemas that finds the first rule broken."""

    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self._patterns = 0
        self._unfolded: dict[str, tuple[int, int]] = {}
        self._open: set[str] = set()

    def fault(self) -> tuple[str, str] | None:
        """Return the pointer and wording of the first fault."""
        try:
            if str(self._root.get("$schema", _DIALECT)).rstrip("#") != _DIALECT:
                raise _Fault("/$schema", f"Only draft 2020-12 is taken: leave `$schema` out, or write {_DIALECT}.")
            self._visit(self._root, at="", depth=1)
        except _Fault as fault:
            return fault.at, fault.message
        return None

    def _visit(self, schema: Any, *, at: str, depth: int) -> tuple[int, int]:
        """Check one subschema; return how many schemas it unfolds to and its longest chain of `$ref`s."""
        if depth > MAX_DEPTH:
            raise _Fault(at, f"The schema is nested over {MAX_DEPTH} schemas deep.")
        if not isinstance(schema, dict):
            return 1, 0
        self._check_keywords(schema, at=at)
        inside = [self._visit(child, at=at + relative, depth=depth + 1) for relative, child in children(schema)]
        if "$ref" in schema:
            inside.append(self._follow(schema["$ref"], at=f"{at}/$ref"))
        total = 1 + sum(parts for parts, _ in inside)
        if total > MAX_UNFOLDED:
            raise _Fault(at, f"With its `$ref`s unfolded the schema has over {MAX_UNFOLDED:,} parts.")
        return total, max((chain for _, chain in inside), default=0)

    def _follow(self, ref: Any, *, at: str) -> tuple[int, int]:
        parts = ref.split("/") if isinstance(ref, str) else []
        if len(parts) != 3 or parts[0] != "#" or parts[1] not in ("$defs", "definitions"):
            raise _Fault(at, "A `$ref` must point to the schema's own `#/$defs/NAME`.")
        target = self._target(parts[1], parts[2])
        if target is None:
            raise _Fault(at, "This `$ref` points to nothing in the schema.")
        if ref in self._open:
            raise _Fault(at, "Recursive schemas are not taken.")
        if ref not in self._unfolded and len(self._open) < MAX_CHAIN:
            self._open.add(ref)
            self._unfolded[ref] = self._visit(target, at=ref[1:], depth=1)
            self._open.discard(ref)
        total, chain = self._unfolded.get(ref, (1, MAX_CHAIN))
        if chain >= MAX_CHAIN:
            raise _Fault(at, f"Over {MAX_CHAIN} `$ref`s follow one another.")
        return total, chain + 1

    def _target(self, keyword: str, name: str) -> Any:
        definitions = self._root.get(keyword)
        wanted = name.replace("~1", "/").replace("~0", "~")
        return definitions.get(wanted) if isinstance(definitions, dict) else None

    def _check_keywords(self, schema: dict[str, Any], *, at: str) -> None:
        for keyword in _REFUSED:
            if keyword in schema:
                raise _Fault(f"{at}/{keyword}", f"`{keyword}` is not taken; use `$ref` to `#/$defs/…`.")
        named = schema.get("patternProperties")
        self._patterns += ("pattern" in schema) + (len(named) if isinstance(named, dict) else 0)
        if self._patterns > MAX_PATTERNS:
            raise _Fault(f"{at}/pattern", f"The schema has over {MAX_PATTERNS} patterns.")


class _Fault(Exception):
    """A signal inside this module, never seen outside."""

    def __init__(self, at: str, message: str) -> None:
        super().__init__(message)
        self.at = at
        self.message = message


def _refusal(message: str, at: str) -> InvalidRequest:
    return InvalidRequest(message, path=at, errors=[{"path": at, "message": message}])
