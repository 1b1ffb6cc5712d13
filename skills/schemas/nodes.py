"""Walking JSON and the schemas inside a schema."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

OF_MAPS = ("properties", "patternProperties", "dependentSchemas", "$defs", "definitions")
OF_LISTS = ("prefixItems", "allOf", "anyOf", "oneOf")
OF_ONE = (
    "items", "additionalProperties", "contains", "not", "if", "then", "else", "propertyNames",
    "unevaluatedItems", "unevaluatedProperties", "contentSchema",
)  # fmt: skip


def escaped(token: str | int) -> str:
    """Write one token of a JSON pointer."""
    return str(token).replace("~", "~0").replace("/", "~1")


def pointer(tokens: list[str | int]) -> str:
    """Write a JSON pointer (RFC 6901); "" is the whole value."""
    return "".join(f"/{escaped(token)}" for token in tokens)


def text_of(value: Any) -> str:
    """Write JSON compactly, in the order it has."""
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))


def children(schema: Any) -> Iterator[tuple[str, Any]]:
    """Yield every schema directly inside a schema, with its relative pointer."""
    if not isinstance(schema, dict):
        return
    for keyword in (*OF_MAPS, *OF_LISTS):
        for token, child in _members(schema.get(keyword)):
            yield f"/{escaped(keyword)}/{escaped(token)}", child
    for keyword in OF_ONE:
        if keyword in schema:
            yield f"/{keyword}", schema[keyword]


def _members(inside: Any) -> Iterable[tuple[str | int, Any]]:
    if isinstance(inside, dict):
        return inside.items()
    return enumerate(inside) if isinstance(inside, list) else ()


def size(value: Any, *, most_nodes: int, most_depth: int) -> tuple[int, int]:
    """Count a JSON value's nodes and depth, and stop counting past either bound."""
    nodes = depth = 0
    level = [value]
    while level and nodes <= most_nodes and depth <= most_depth:
        nodes += len(level)
        depth += 1
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return nodes, depth
