"""Cutting a text into parts that fit one call: at headings and pages where possible, never in the middle of a word."""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_HEADING = re.compile(
    r"^(?:#{1,6} .+|(?:CHAPTER|Chapter|PART|Part|SECTION|Section|ARTICLE|Article|Kapitel|§) ?[\dIVXLC]+\b.*|\d+(?:\.\d+)*\.? [A-Z].{2,78})$",
    re.M,
)
_BOUNDARIES = (
    re.compile(r"\n\s*\n"),
    re.compile(r"\n"),
    re.compile(r"(?<=[.!?…。！？])\s+"),  # noqa: RUF001 - the full-width marks are meant
    re.compile(r"\s+"),
)
_EARLIEST = 0.6  # a part may end this early for the sake of a better place


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a document, in characters."""

    start: int
    end: int


def split(text: str, *, most_bytes: int, overlap_bytes: int, pages: Sequence[int] = ()) -> list[Part]:
    """Cut a text into parts of at most `most_bytes` of UTF-8, in order and without a gap.

    A part that begins in the middle of a chapter or page repeats up to `overlap_bytes` of what comes
    before it, from the start of a sentence. No token is shorter than a byte, so bytes bound tokens.
    """
    breaks = sorted({*pages, *(found.start() for found in _HEADING.finditer(text))})
    overlap_bytes = min(overlap_bytes, most_bytes // 4)
    found: list[Part] = []
    start = 0
    while text[start:].strip() if start < len(text) else False:
        limit = _reach(text, start, most_bytes=most_bytes)
        end = len(text) if limit >= len(text) else _best_end(text, start, limit, breaks=breaks)
        found.append(Part(start, end))
        start = end if end in breaks or end >= len(text) else _with_overlap(text, start, end, most_bytes=overlap_bytes)
    return found


def page_of(offset: int, pages: Sequence[int] | None) -> int | None:
    """Return the number of the page, from 1, at which an offset lies; None without pages."""
    return bisect_right(pages, offset) if pages else None


def _reach(text: str, start: int, *, most_bytes: int) -> int:
    """Return the end of the longest stretch that has at most `most_bytes`, at least one character."""
    window = text[start : start + most_bytes]
    fitting = window.encode("utf-8", "surrogatepass")[:most_bytes].decode("utf-8", "ignore")
    return start + max(1, len(fitting))


def _best_end(text: str, start: int, limit: int, *, breaks: Sequence[int]) -> int:
    earliest = start + max(1, int((limit - start) * _EARLIEST))
    at = bisect_right(breaks, limit) - 1
    if at >= 0 and breaks[at] >= earliest:
        return breaks[at]
    for boundary in _BOUNDARIES:
        end = _last(boundary.finditer(text, earliest, limit))
        if end is not None:
            return end
    return limit


def _last(matches: Iterator[re.Match[str]]) -> int | None:
    end = None
    for match in matches:
        end = match.end()
    return end


def _with_overlap(text: str, before: int, end: int, *, most_bytes: int) -> int:
    earliest = max(before + 1, end - most_bytes)
    while len(text[earliest:end].encode("utf-8", "surrogatepass")) > most_bytes:
        earliest += max(1, (end - earliest) // 8)
    for boundary in (_BOUNDARIES[0], _BOUNDARIES[2], _BOUNDARIES[3]):
        found = boundary.search(text, earliest, end)
        if found is not None and found.end() < end:
            return found.end()
    return end
