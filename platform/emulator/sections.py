"""Tells the instructions of a prompt from the text they are about."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

_OPENING = re.compile(r"<([A-Za-z][\w-]{0,40})(?:\s[^<>]{0,200})?>")
_MARK = re.compile(r"-[0-9a-f]{12}$")
_INLINE = re.compile(r"\[\[emulator:[^\[\]]{0,80}\]\]\s?")
_SENTENCE = re.compile(r"(?<=[.!?。!?])\s+|\n+")
_WORD = re.compile(r"\w+")
_GIVEN_NAMES = (
    "text document documents input content article email message transcript passage source context data ticket review "
    "body conversation note notes report page comment feedback user_input file invoice contract"
)
_GIVEN = frozenset(_GIVEN_NAMES.split())
_TASK = re.compile(r"\b(summar|translat|classif|categor|extract|condens|shorten|rewrit|analy[sz]|label|answer)", re.I)
_FENCES = ('"""', "```", "'''")
# Beyond this a text is not read for its meaning; it is still counted to the last character.
_READ = 200_000
_STOP_WORDS = (
    "a an and any are as at be been by can could did do does for from had has have how i if in into is it its me my no "
    "not of on or our so than that the their them then there these they this to too us was we were what when where "
    "which who why will with would you your please tell about give"
)
_STOP = frozenset(_STOP_WORDS.split())


class Sections(NamedTuple):
    """A prompt taken apart: what to do, and the text to do it to."""

    instructions: str
    given: str


def clean(text: str) -> str:
    """Return the part of a text that is read for its meaning, without inline markers."""
    return _INLINE.sub("", text[:_READ]) if "[[emulator:" in text else text[:_READ]


def separate(asked: str, *, system: str) -> Sections:
    """Return the instructions and the given text of a request."""
    asked, system = clean(asked).strip(), clean(system)
    found = _from_json(asked) or _from_tags(asked) or _from_fences(asked)
    if found is None:
        found = Sections("", asked) if _TASK.search(system) else _from_prose(asked)
    return Sections(f"{system}\n{found.instructions}".strip(), found.given.strip() or asked)


def _from_json(asked: str) -> Sections | None:
    if not (asked.startswith("{") and asked.endswith("}")):
        return None
    try:
        record = json.loads(asked)
    except (ValueError, RecursionError):
        return None
    fields = {name: value if isinstance(value, str) else json.dumps(value) for name, value in record.items()}
    return _choose(list(fields.items()), outside="")


def _from_tags(asked: str) -> Sections | None:
    found: list[tuple[str, str]] = []
    outside: list[str] = []
    unclosed: set[str] = set()
    at = 0
    for opening in _OPENING.finditer(asked):
        name = opening.group(1)
        if opening.start() < at or name in unclosed:
            continue
        end = asked.find(f"</{name}>", opening.end())
        if end < 0:
            unclosed.add(name)
            continue
        outside.append(asked[at : opening.start()])
        at = end + len(name) + 3
        value = asked[opening.end() : end].strip()
        if _MARK.search(name) and opening.start() and asked[opening.start() - 1] not in "\n>":
            outside.append(value)  # a marked tag within a sentence: the sentence goes on
        else:
            found.append((_MARK.sub("", name), value))
    return _choose(found, outside="".join([*outside, asked[at:]]))


def _choose(fields: list[tuple[str, str]], *, outside: str) -> Sections | None:
    """Take the field that is named like an input, else the longest, and make settings of the others."""
    if not fields:
        return None
    names = {name for name, _ in fields if name.lower() in _GIVEN}
    names = names or {max(fields, key=lambda field: len(field[1]))[0]}
    given = "\n\n".join(value for name, value in fields if name in names)
    settings = "\n".join(f"{name}: {value}" for name, value in fields if name not in names)
    return Sections(f"{outside}\n{settings}".strip(), given)


def _from_fences(asked: str) -> Sections | None:
    for fence in _FENCES:
        parts = asked.split(fence)
        if len(parts) >= 3:
            return Sections("".join(parts[::2]), "\n".join(parts[1::2]))
    before, rule, after = asked.partition("\n---\n")
    return Sections(before, after) if rule and after.strip() else None


def _from_prose(asked: str) -> Sections:
    before, blank, after = asked.partition("\n\n")
    if blank and after.strip():
        return Sections(before, after)
    before, colon, after = asked.partition(":")
    if colon and after.strip() and len(before) < 200 and _TASK.search(before):
        return Sections(before, after)
    return Sections(asked, asked)


def sentences(text: str) -> list[str]:
    """Return the sentences of a text, each an exact slice of it."""
    return [part.strip() for part in _SENTENCE.split(text) if part and part.strip()]


def words(text: str) -> set[str]:
    """Return the words that carry a text's meaning, folded and roughly stemmed."""
    return {stem(word) for word in _WORD.findall(text.casefold()) if word not in _STOP}


def stem(word: str) -> str:
    """Return a word without the commonest English endings."""
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def closest(candidates: list[str], question: str) -> str:
    """Return the candidate that shares most words with the question; the first of equals."""
    wanted = words(question)
    return max(candidates, key=lambda one: len(words(one) & wanted), default="")
