"""A skill's own phrases as one pattern: words in any case and spacing, `*` for what may stand between them."""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from skills.guardrails.spans import Find, Span

MOST_PHRASES = 200
LONGEST_PHRASE = 200
_GAP = 64
_SPACES = 8


def fault(phrase: object) -> str:
    """Say what is wrong with a phrase; nothing if it can be looked for."""
    if not isinstance(phrase, str) or not 2 <= len(phrase.strip()) <= LONGEST_PHRASE:
        return f"must be a text of 2 to {LONGEST_PHRASE} characters."
    if phrase.count("*") > 1 or phrase.strip()[0] == "*" or phrase.strip()[-1] == "*":
        return "may have one `*`, inside it."
    return ""


def finder(phrases: Sequence[str]) -> tuple[Find, int]:
    """Return what finds the phrases, and the most characters that a find can have."""
    written = [_pattern(phrase) for phrase in sorted(set(phrases), key=len, reverse=True)]
    pattern = re.compile("|".join(written), re.IGNORECASE)
    longest = max(
        (len(phrase) + phrase.count(" ") * _SPACES + phrase.count("*") * _GAP for phrase in phrases), default=0
    )
    return partial(_find, search=pattern.finditer), longest + 1


def _find(text: str, *, search: Callable[[str], Iterator[re.Match[str]]]) -> Iterator[Span]:
    for found in search(text):
        yield Span(found.start(), found.end(), "phrase")


def _pattern(phrase: str) -> str:
    gaps = [r"\s{1,%d}" % _SPACES, r"[^\n]{0,%d}?" % _GAP]  # noqa: UP031 - braces are the pattern's
    parts = [gaps[0].join(map(re.escape, part.split())) for part in phrase.strip().split("*")]
    first, last = phrase.strip()[0], phrase.strip()[-1]
    before = r"(?<!\w)" if first.isalnum() else ""
    after = r"(?!\w)" if last.isalnum() else ""
    return f"(?:{before}{gaps[1].join(parts)}{after})"
