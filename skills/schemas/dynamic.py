"""Output schemas that depend on the call: `{"$input": "labels"}` stands for the input's own `labels`."""

from collections.abc import Iterator
from typing import Any, Protocol

from kit.errors import InvalidRequest
from skills.schemas.nodes import escaped
from skills.schemas.provider import provider_schema
from skills.schemas.rules import check_schema

REFERENCE = "$input"
_MAX_DEPTH = 64
_LISTS = frozenset(["enum", "required"])


class Outputs(Protocol):
    """What is needed of a version here."""

    @property
    def output_schema(self) -> dict[str, Any] | None:
        """The output schema as authored, or None for plain text."""


def output_schema_for(version: Outputs, given: dict[str, Any]) -> dict[str, Any] | None:
    """Return the schema this call's answer must fit; None when it is plain text.

    Raises InvalidRequest, with the pointer into the input, when what the caller supplied makes no usable schema.
    """
    if version.output_schema is None:
        return None
    places = dict(input_references(version.output_schema))
    if not places:
        return version.output_schema
    resolved = _resolved(version.output_schema, given)
    try:
        check_schema(resolved)
        provider_schema(resolved)
    except InvalidRequest as fault:
        raise _at_the_input(fault, places) from None
    return dict(resolved)


def input_references(schema: Any, *, at: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    """Yield the pointer and the field of every `{"$input": field}` in an output schema."""
    if depth > _MAX_DEPTH:
        return
    if (field := _field(schema)) is not None:
        yield at, field
    elif isinstance(schema, dict | list):
        pairs = schema.items() if isinstance(schema, dict) else enumerate(schema)
        for token, inner in pairs:
            yield from input_references(inner, at=f"{at}/{escaped(token)}", depth=depth + 1)


def _field(node: Any) -> str | None:
    if isinstance(node, dict) and len(node) == 1 and isinstance(node.get(REFERENCE), str):
        return str(node[REFERENCE])
    return None


def _resolved(node: Any, given: dict[str, Any]) -> Any:
    """Replace references; what the input brings is taken as it is, references inside it included."""
    if (field := _field(node)) is not None:
        if field not in given:
            raise InvalidRequest(f"/{field}: is required and missing.", path=f"/{escaped(field)}")
        return given[field]
    if isinstance(node, dict):
        return {key: _resolved(inner, given) for key, inner in node.items()}
    if isinstance(node, list):
        return [_resolved(inner, given) for inner in node]
    return node


def _at_the_input(fault: InvalidRequest, places: dict[str, str]) -> InvalidRequest:
    """Point a fault of the resolved schema at the input field that brought it."""
    path = str(fault.details.get("path", ""))
    for place, field in places.items():
        if path == place or path.startswith(f"{place}/"):
            path = f"/{escaped(field)}{path[len(place) :]}"
            break
    else:
        path = f"/{escaped(next(iter(places.values())))}"
    return InvalidRequest(fault.message, path=path, errors=[{"path": path, "message": fault.message}])


def check_output(schema: Any, *, at: str = "") -> None:
    """Raise InvalidRequest unless an authored output schema can be promised to callers.

    What a call will bring is stood in for: a list of strings where a list must be, a string schema elsewhere.
    """
    filled = _filled(schema, keyword="", depth=0)
    check_schema(filled, at=at)
    provider_schema(filled, at=at)


def _filled(node: Any, *, keyword: str, depth: int) -> Any:
    if _field(node) is not None:
        return ["a"] if keyword in _LISTS else {"type": "string"}
    if depth > _MAX_DEPTH:
        return node
    if isinstance(node, dict):
        return {key: _filled(inner, keyword=key, depth=depth + 1) for key, inner in node.items()}
    if isinstance(node, list):
        return [_filled(inner, keyword="", depth=depth + 1) for inner in node]
    return node
