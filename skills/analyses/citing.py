"""Citations in an answer: the model names findings, the reader gets places in the documents, each looked up again."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from skills.analyses.findings import Source, identity

SOURCES = "sources"
ANSWER = "answer"
Schema = dict[str, Any]


def with_sources(schema: Schema | None, *, count: int) -> Schema:
    """Let an answer's schema name its sources: only findings that there are can be named.

    Every property called `sources` that is a list of strings does; a schema without one gets it at the top.
    """
    listed = _listed(count)
    if schema is None:
        return _wrapped({"type": "string"}, listed)
    made = deepcopy(schema)
    if _place(made, listed):
        return made
    if made.get("type") != "object" or not isinstance(made.get("properties"), dict):
        return _wrapped(made, listed)
    made["properties"] = {**made["properties"], SOURCES: listed}
    made["required"] = [*made.get("required", []), SOURCES]
    return made


@dataclass(slots=True)
class Cited:
    """An answer as the reader gets it: `sources` hold ids of citations."""

    output: Any
    citations: list[dict[str, Any]] = field(default_factory=list)
    dropped: int = 0


def resolve(
    answer: Any, *, schema: Schema | None, findings: Sequence[dict[str, Any]], sources: Sequence[Source]
) -> Cited:
    """Turn an answer's named findings into citations; what is not in the source word for word is
    dropped and counted."""
    cited = _Resolver(findings, sources)
    output = cited.walk(answer)
    if schema is None or _is_wrapped(schema):
        output = output[ANSWER]
    return Cited(output, citations=list(cited.citations.values()), dropped=cited.dropped)


class _Resolver:
    def __init__(self, findings: Sequence[dict[str, Any]], sources: Sequence[Source]) -> None:
        self._by_id = {identity(number): finding for number, finding in enumerate(findings)}
        self._sources = sources
        self.citations: dict[tuple[int, int, int], dict[str, Any]] = {}
        self.dropped = 0

    def walk(self, node: Any) -> Any:
        if isinstance(node, list):
            return [self.walk(one) for one in node]
        if not isinstance(node, dict):
            return node
        return {
            name: self._resolved(inner) if name == SOURCES and _are_names(inner) else self.walk(inner)
            for name, inner in node.items()
        }

    def _resolved(self, names: list[str]) -> list[str]:
        found: dict[str, None] = {}
        for name in names:
            places = self._by_id[name]["places"] if name in self._by_id else []
            self.dropped += not places
            found.update(dict.fromkeys(identifier for place in places if (identifier := self._cite(place))))
        return list(found)

    def _cite(self, place: dict[str, Any]) -> str | None:
        source = self._sources[place["document"]]
        if source.text[place["start"] : place["end"]] != place["quote"]:
            self.dropped += 1
            return None
        key = (place["document"], place["start"], place["end"])
        known = self.citations.setdefault(
            key, {"id": f"c{len(self.citations) + 1}", **place, "document_name": source.name}
        )
        return str(known["id"])


def _listed(count: int) -> Schema:
    items: Schema = {"type": "string"}
    if count:
        items["enum"] = [identity(number) for number in range(count)]
    return {"type": "array", "items": items, "description": "The findings that bear it out, such as F1."}


def _wrapped(schema: Schema, listed: Schema) -> Schema:
    return {
        "type": "object",
        "properties": {ANSWER: schema, SOURCES: listed},
        "required": [ANSWER, SOURCES],
        "additionalProperties": False,
    }


def _is_wrapped(schema: Schema) -> bool:
    probe = deepcopy(schema)
    return not _place(probe, {}) and (probe.get("type") != "object" or not isinstance(probe.get("properties"), dict))


def _place(node: Any, listed: Schema) -> bool:
    """Put the list of findings wherever a schema has sources; tell whether it has."""
    if isinstance(node, list):
        return any([_place(one, listed) for one in node])  # noqa: C419 - each of them, not only up to the first
    if not isinstance(node, dict):
        return False
    properties = node.get("properties")
    has = False
    if isinstance(properties, dict) and _is_sources(properties.get(SOURCES)):
        properties[SOURCES], has = listed, True
    return any([has, *(_place(inner, listed) for name, inner in node.items() if name != "enum")])


def _is_sources(schema: Any) -> bool:
    return (
        isinstance(schema, dict) and schema.get("type") == "array" and schema.get("items", {}).get("type") == "string"
    )


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)
