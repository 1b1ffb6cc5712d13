"""What differs between two versions, field by field, as people read it."""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from console.skills import drafts, forms
from skills.catalog import Content

_LONG = ("description", "system", "template", *drafts.JSON)
_MOST_LINES = 3_000  # comparing costs the square of it
_CONTEXT = 3
_KINDS = {"+": "added", "-": "removed", "@": "place", " ": "same"}
NAMES = {
    "system": "Prompt",
    "max_tokens": "Output tokens",
    "max_tokens_ceiling": "Most output tokens",
    "cache_system": "Cache the prompt",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a difference: added, removed, same, or the place of those that follow."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Change:
    """One field that differs: by lines where it is long, else by what it was and is."""

    name: str
    lines: list[Line]
    before: str = ""
    after: str = ""


def changes(old: Content, new: Content) -> list[Change]:
    """Return the fields that differ, in the order in which they are written."""
    before, after = old.as_columns(), new.as_columns()
    return [_change(name, before[name], after[name]) for name in before if not _same(before[name], after[name])]


def title(name: str) -> str:
    """Name a field for people."""
    return NAMES.get(name, name.replace("_", " ").capitalize())


def written(name: str, value: Any) -> str:
    """Write a field's value for people."""
    if name in drafts.JSON:
        return forms.pretty(value) if value else ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _same(one: Any, other: Any) -> bool:
    """The order of a schema's names counts: it is the order of the answer."""
    return one == other and (not isinstance(one, dict) or forms.pretty(one) == forms.pretty(other))


def _change(name: str, old: Any, new: Any) -> Change:
    before, after = written(name, old), written(name, new)
    if name not in _LONG:
        return Change(title(name), [], before or "none", after or "none")
    return Change(title(name), list(_lines(before.splitlines(), after.splitlines())))


def _lines(before: list[str], after: list[str]) -> Iterator[Line]:
    if len(before) + len(after) > _MOST_LINES:
        yield from (Line("removed", text) for text in before)
        yield from (Line("added", text) for text in after)
        return
    for position, text in enumerate(difflib.unified_diff(before, after, n=_CONTEXT, lineterm="")):
        if position >= 2:  # the two lines that would name files
            yield Line(_KINDS[text[0]], text if text[0] == "@" else text[1:])
