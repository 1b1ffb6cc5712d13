"""Counts and cuts text in tokens: deterministic, close to four characters each, never more than its bytes."""

from __future__ import annotations

import re
from functools import lru_cache

_IDEOGRAPHS = "\u3040-\u9fff\uac00-\ud7af"
_PIECE = re.compile(
    rf" ?[^\W\d_{_IDEOGRAPHS}]{{1,5}}|[{_IDEOGRAPHS}]| ?\d{{1,3}}| ?[^\w\s]{{1,3}}|\s+|.",
    re.DOTALL,
)
# Long texts are counted by slices, so that the list of pieces stays small, and are not worth remembering.
_SLICE = 65_536
# Answers up to this length are often the same: a thousand streams share the tokens of one.
_BRIEF = 4_096


def split(text: str) -> tuple[str, ...]:
    """Return the tokens of a text; joined, they are the text."""
    return _split_short(text) if len(text) <= _BRIEF else tuple(_PIECE.findall(text))


def count(text: str) -> int:
    """Return how many tokens a text takes."""
    if len(text) <= _SLICE:
        return _count_short(text)
    return sum(len(_PIECE.findall(text, start, start + _SLICE)) for start in range(0, len(text), _SLICE))


@lru_cache(maxsize=1024)
def _split_short(text: str) -> tuple[str, ...]:
    return tuple(_PIECE.findall(text))


@lru_cache(maxsize=1024)
def _count_short(text: str) -> int:
    return len(_PIECE.findall(text))
