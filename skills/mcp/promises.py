"""What a tool promises to answer, and the answer in that form: always a JSON object, as every revision of MCP asks."""

import json
from typing import Any

from skills import schemas
from skills.events import RunCompleted
from skills.versions import Version

Json = dict[str, Any]

_CITATIONS: Json = {
    "type": "array",
    "items": {"type": "object"},
    "description": "The passages of the documents that the output rests on.",
}


def output_schema(promised: Json | None, *, is_cited: bool) -> Json:
    """Return a tool's output schema; what depends on each call is left open."""
    if promised is None:
        properties: Json = {"output": {"type": "string", "description": "The answer."}}
        if is_cited:
            properties["citations"] = _CITATIONS
        return {"type": "object", "properties": properties, "required": list(properties)}
    if is_object(promised):
        return dict(_open(promised))
    opened = {} if _is_reference(promised) else _open(promised)
    return {"type": "object", "properties": {"output": opened}, "required": ["output"]}


def structured(done: RunCompleted, version: Version) -> Json:
    """Bring a run's output into the form its tool promised."""
    if version.output_schema is not None:
        return done.output if is_object(version.output_schema) else {"output": done.output}
    return {"output": done.output, "citations": done.citations} if version.citations else {"output": done.output}


def text(done: RunCompleted) -> str:
    """Return a run's output as text."""
    return done.output if isinstance(done.output, str) else as_json(done.output)


def as_json(value: Any) -> str:
    """Write a value as JSON on one line."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def is_object(promised: Json) -> bool:
    """Tell whether every answer is an object, also where the caller brings a part of the schema."""
    return promised.get("type") == "object"


def _open(node: Any) -> Any:
    """Leave out every keyword that stands for something of the call's own input."""
    if isinstance(node, dict):
        return {key: _open(inner) for key, inner in node.items() if not _is_reference(inner)}
    if isinstance(node, list):
        return [_open(inner) for inner in node]
    return node


def _is_reference(node: Any) -> bool:
    place, _ = next(schemas.input_references(node), (None, ""))
    return place == ""
