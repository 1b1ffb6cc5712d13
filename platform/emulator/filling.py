"""Fills a JSON Schema with values taken from a text, so that the result is valid against it."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

from emulator import validation

if TYPE_CHECKING:
    from emulator.extracts import Source

Json = dict[str, Any]
# Recursive schemas end here: below, only what is required is filled, and null or scalars are preferred.
_DEEP = 5
_BOTTOM = 40
_ITEMS = 2
_MOST_ITEMS = 10_000
_MOST_VALUES = 20_000


def fill(schema: Json, source: Source) -> Any:
    """Return a value that fits the schema, sensible first, merely valid if the sensible one does not fit."""
    validator = validation.compiled(json.dumps(schema, separators=(",", ":")))
    value: Any = None
    for depth in (0, _DEEP):
        value = Filler(schema, source).value(schema, name="", depth=depth)
        if validator.is_valid(value):
            break
    return value


class Filler:
    """Walks one schema; keeps its root for references."""

    def __init__(self, root: Json, source: Source) -> None:
        self.root = root
        self.source = source
        self.left = _MOST_VALUES

    def value(self, schema: Any, *, name: str, depth: int) -> Any:
        """Return a value for a schema found under a property's name."""
        schema = self.resolve(schema)
        self.left -= 1
        if self.left < 0:
            return None
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self._enum(schema["enum"])
        for word in ("anyOf", "oneOf"):
            if schema.get(word):
                return self._branch(schema, word, name=name, depth=depth)
        return self._typed(schema, name=name, depth=depth)

    def resolve(self, schema: Any) -> Json:
        """Return a schema with its references and `allOf` merged in; true and {} both mean any."""
        for _ in range(_BOTTOM):
            if not isinstance(schema, dict):
                return {}
            if "$ref" in schema:
                rest = {key: value for key, value in schema.items() if key != "$ref"}
                schema = merge(self._target(schema["$ref"]), rest)
            elif schema.get("allOf"):
                parts = [self.resolve(part) for part in schema["allOf"]]
                schema = {key: value for key, value in schema.items() if key != "allOf"}
                for part in parts:
                    schema = merge(schema, part)
            else:
                return schema
        return {}

    def _target(self, reference: str) -> Json:
        found: Any = self.root
        for part in reference.removeprefix("#").split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            found = found[int(key)] if isinstance(found, list) else found.get(key, {})
        return found if isinstance(found, dict) else {}

    def _enum(self, values: list[Any]) -> Any:
        labels = [value for value in values if isinstance(value, str)]
        return self.source.label(labels) if labels else values[0]

    def _branch(self, schema: Json, word: str, *, name: str, depth: int) -> Any:
        rest = {key: value for key, value in schema.items() if key != word}
        options = [merge(rest, self.resolve(option)) for option in schema[word]]
        options.sort(key=lambda option: _weight(option, is_deep=depth >= _DEEP))
        if depth >= _BOTTOM:
            return None
        return self.value(options[0], name=name, depth=depth + 1)

    def _typed(self, schema: Json, *, name: str, depth: int) -> Any:
        kind = _kind(schema)
        if kind == "object":
            return self._object(schema, depth=depth)
        if kind == "array":
            return self._array(schema, name=name, depth=depth)
        if kind in ("integer", "number"):
            return self._number(schema, name=name, is_whole=kind == "integer")
        if kind == "boolean":
            return self.source.holds(name)
        return None if kind == "null" else self._string(schema, name=name)

    def _object(self, schema: Json, *, depth: int) -> Json:
        properties = schema.get("properties") or {}
        required = list(schema.get("required") or ())
        wanted = [key for key in properties if depth < _DEEP or key in required]
        wanted += [key for key in required if key not in properties]
        extra = schema.get("additionalProperties", {})
        if depth >= _BOTTOM:
            return {}
        filled = {key: self.value(properties.get(key, extra), name=key, depth=depth + 1) for key in wanted}
        spare = [key for key in properties if key not in filled] + [f"item_{n}" for n in range(_BOTTOM)]
        while len(filled) < schema.get("minProperties", 0) and spare:
            key = spare.pop(0)
            filled[key] = self.value(properties.get(key, extra), name=key, depth=depth + 1)
        return filled

    def _array(self, schema: Json, *, name: str, depth: int) -> list[Any]:
        first = schema.get("prefixItems") or []
        items = schema.get("items", {})
        low = min(_MOST_ITEMS, int(schema.get("minItems", 0)))
        high = int(schema.get("maxItems", _MOST_ITEMS))
        if depth >= _BOTTOM or (items is False and not first):
            return []
        wish = low if depth >= _DEEP else max(low, len(first), _ITEMS)
        size = min(high, wish if items is not False else len(first))
        labels = self.resolve(items).get("enum")
        if labels and all(isinstance(label, str) for label in labels):
            return self._labels(labels, low=low, high=high, schema=schema)
        single = name[:-1] if name.endswith("s") else name
        made = [self.value(first[at] if at < len(first) else items, name=single, depth=depth + 1) for at in range(size)]
        return self._distinct(made, items=items, low=low) if schema.get("uniqueItems") else made

    def _labels(self, labels: list[str], *, low: int, high: int, schema: Json) -> list[Any]:
        chosen = self.source.mentioned(labels) or labels[:1]
        chosen += [label for label in labels if label not in chosen][: max(0, low - len(chosen))]
        while len(chosen) < low and not schema.get("uniqueItems"):
            chosen.append(chosen[0])
        return list(chosen[:high])

    def _distinct(self, made: list[Any], *, items: Any, low: int) -> list[Any]:
        rules = self.resolve(items)
        kept: list[Any] = []
        for value in made:
            if value not in kept:
                kept.append(value)
        candidate = 0
        while len(kept) < low and candidate < 10_000:
            value = _nth(rules, candidate)
            candidate += 1
            if value not in kept:
                kept.append(value)
        return kept

    def _number(self, schema: Json, *, name: str, is_whole: bool) -> float | int:
        low, high = bounds(schema, step=1 if is_whole else 1e-6)
        found = self.source.number(name, low=low, high=high)
        if found is None:
            found = _inside(low, high)
        step = schema.get("multipleOf") or (1 if is_whole else 0)
        if step:
            found = _on_step(found, step=step, low=low, high=high)
        return int(found) if is_whole or found == int(found) else found

    def _string(self, schema: Json, *, name: str) -> str:
        pattern = schema.get("pattern")
        if isinstance(pattern, str) and (matched := _matching(pattern, self.source.text)) is not None:
            return matched
        form = schema.get("format")
        text = self.source.string(name, form=form if isinstance(form, str) else None)
        low, high = int(schema.get("minLength", 0)), schema.get("maxLength")
        if len(text) < low:
            text = (text + " " + "filler text " * (low // 10 + 1))[: max(low, 1)] if low < 100_000 else text
        return text if high is None else text[: int(high)]


def merge(one: Json, other: Json) -> Json:
    """Return two schemas as one: properties united, required joined, the tighter bound of each pair."""
    merged = {**one, **other}
    if "properties" in one and "properties" in other:
        merged["properties"] = {**one["properties"], **other["properties"]}
    if "required" in one and "required" in other:
        merged["required"] = [*one["required"], *(key for key in other["required"] if key not in one["required"])]
    for word, tighter in (("minimum", max), ("maximum", min), ("minLength", max), ("maxLength", min),
                          ("minItems", max), ("maxItems", min)):  # fmt: skip
        if word in one and word in other:
            merged[word] = tighter(one[word], other[word])
    if "enum" in one and "enum" in other:
        merged["enum"] = [value for value in one["enum"] if value in other["enum"]] or other["enum"]
    return merged


def bounds(schema: Json, *, step: float) -> tuple[float, float]:
    """Return the least and the greatest number allowed."""
    low = float(schema.get("minimum", -math.inf))
    high = float(schema.get("maximum", math.inf))
    if "exclusiveMinimum" in schema:
        low = max(low, float(schema["exclusiveMinimum"]) + step)
    if "exclusiveMaximum" in schema:
        high = min(high, float(schema["exclusiveMaximum"]) - step)
    return low, high


def _inside(low: float, high: float) -> float:
    if low > -math.inf and high < math.inf:
        middle = low + (high - low) * 0.9
        return round(middle, 2) if low <= round(middle, 2) <= high else middle
    if low > -math.inf:
        return max(low, 1.0)
    return min(high, 1.0)


def _on_step(number: float, *, step: float, low: float, high: float) -> float:
    """Return the multiple of a step nearest to a number within its bounds."""
    whole = isinstance(step, int)
    steps = math.floor(number / step)
    while steps * step < low:
        steps += 1
    while steps * step > high:
        steps -= 1
    return steps * step if whole else float(f"{steps * step:.12g}")


def _kind(schema: Json) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        return next((one for one in kind if one != "null"), "null")
    if isinstance(kind, str):
        return kind
    if "properties" in schema or "required" in schema:
        return "object"
    if "items" in schema or "prefixItems" in schema:
        return "array"
    return "number" if "minimum" in schema or "maximum" in schema else "string"


def _weight(option: Json, *, is_deep: bool) -> int:
    """Order alternatives: null last; in the depths null first and containers last."""
    kind = _kind(option)
    if is_deep:
        return {"null": 0, "object": 3, "array": 2}.get(kind, 1)
    return 9 if kind == "null" else 0


def _nth(rules: Json, index: int) -> Any:
    kind = _kind(rules)
    if kind in ("integer", "number"):
        low, _ = bounds(rules, step=1)
        step = rules.get("multipleOf", 1)
        return (math.ceil(low / step) * step if low > -math.inf else 0) + index * step
    if kind == "object":
        return {key: _nth(rule, index) for key, rule in (rules.get("properties") or {}).items()}
    text = f"item {index + 1}".ljust(int(rules.get("minLength", 0)), "x")
    return text[-int(rules["maxLength"]) :] if rules.get("maxLength") else text


def _matching(pattern: str, text: str) -> str | None:
    try:
        found = re.search(pattern.removeprefix("^").removesuffix("$"), text[:10_000])
    except re.error:
        return None
    return found.group(0) if found else None
