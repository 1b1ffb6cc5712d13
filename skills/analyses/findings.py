"""Findings on their way up the tree: a statement, and the places in the sources that bear it out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from skills.analyses import quotes
from skills.analyses.parts import page_of

_MOST_PLACES = 8  # of one finding, however many were merged into it
_MOST_STATEMENT_CHARACTERS = 2_000
_SHOWN_QUOTE_CHARACTERS = 240


@dataclass(frozen=True, slots=True)
class Source:
    """A document's text, with the offsets of its pages."""

    name: str
    text: str
    pages: Sequence[int] | None


@dataclass(frozen=True, slots=True)
class Found:
    """What one step found, and how many quotations and statements had nothing in the source to stand on."""

    findings: list[dict[str, Any]]
    unverified_quotes: int = 0
    left_out: int = 0

    def as_output(self) -> dict[str, Any]:
        """Return it as a step's checkpoint."""
        return {"findings": self.findings, "unverified_quotes": self.unverified_quotes, "left_out": self.left_out}


def verified(said: Iterable[dict[str, Any]], *, source: Source, document: int, start: int, end: int) -> Found:
    """Keep the findings whose quotation stands in the part that was read, with its place."""
    kept: list[dict[str, Any]] = []
    missing = 0
    for one in said:
        statement = str(one["statement"]).strip()[:_MOST_STATEMENT_CHARACTERS]
        at = quotes.locate(str(one["quote"]), source.text, start=start, end=end)
        if at is None or not statement:
            missing += at is None
            continue
        kept.append({"statement": statement, "places": [_place(source, document=document, start=at[0], end=at[1])]})
    return Found(kept, unverified_quotes=missing)


def merged(said: Iterable[dict[str, Any]], *, given: Sequence[dict[str, Any]], most: int) -> Found:
    """Give merged findings the places of those they were merged from."""
    by_id = {identity(number): finding for number, finding in enumerate(given)}
    kept: list[dict[str, Any]] = []
    missing = 0
    for one in said:
        known = [by_id[name] for name in dict.fromkeys(one["sources"]) if name in by_id]
        missing += len(set(one["sources"]) - set(by_id))
        places = [place for finding in known for place in finding["places"]]
        if places and one["statement"].strip():
            statement = one["statement"].strip()[:_MOST_STATEMENT_CHARACTERS]
            kept.append({"statement": statement, "places": _distinct(places)[:_MOST_PLACES]})
    return Found(kept[:most], unverified_quotes=missing, left_out=max(0, len(kept) - most))


def identity(number: int) -> str:
    """Name the finding at a position, for the model."""
    return f"F{number + 1}"


def rendered(findings: Sequence[dict[str, Any]], *, sources: Sequence[Source]) -> str:
    """Write findings for the model, one in a line."""
    return "\n".join(_line(number, finding, sources=sources) for number, finding in enumerate(findings))


def _line(number: int, finding: dict[str, Any], *, sources: Sequence[Source]) -> str:
    place = finding["places"][0]
    page = f", page {place['page']}" if place["page"] else ""
    statement = " ".join(finding["statement"].split())
    quote = " ".join(place["quote"].split())[:_SHOWN_QUOTE_CHARACTERS]
    return f"{identity(number)} [{sources[place['document']].name}{page}] {statement} — “{quote}”"


def _place(source: Source, *, document: int, start: int, end: int) -> dict[str, Any]:
    return {
        "document": document,
        "start": start,
        "end": end,
        "page": page_of(start, source.pages),
        "quote": source.text[start:end],
    }


def _distinct(places: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({(place["document"], place["start"], place["end"]): place for place in places}.values())
