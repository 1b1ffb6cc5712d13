"""Looking through texts: a piece at a time, and large ones in threads, so that the event loop goes on beside it."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from prometheus_client import Counter as Metric

from skills.guardrails.plans import Check
from skills.guardrails.spans import Span

FOUND = Metric("skillgate_guardrail_found_total", "What guardrails found.", ["check", "side", "action"])
PIECE_CHARACTERS = 8_192
OVERLAP_CHARACTERS = 4_096
INLINE_CHARACTERS = 4_096
_THREADS = ThreadPoolExecutor(max_workers=2, thread_name_prefix="guardrails")

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, order=True)
class Found:
    """A find of a check."""

    span: Span
    check: Check = field(compare=False)


@dataclass(slots=True)
class Tally:
    """What was found on one side of a run: how often, by check; and where the first thing is that forbids going on."""

    side: str
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    blocked: tuple[str, str, str] | None = None
    """The check, the kind of thing it found, and the path to where it stands."""

    def add(self, found: Found, *, path: str = "") -> None:
        """Count a find."""
        self.counts[found.check.name, found.check.action] += 1
        FOUND.labels(found.check.name, self.side, found.check.action).inc()
        if found.check.action == "block" and self.blocked is None:
            self.blocked = (found.check.name, found.span.kind, path)

    def report(self) -> list[dict[str, Any]]:
        """List what was found, as callers see it."""
        return [
            {"check": check, "side": self.side, "action": action, "count": count}
            for (check, action), count in sorted(self.counts.items())
        ]


def look(text: str, checks: Iterable[Check]) -> list[Found]:
    """Return everything the checks find in a text, in order; what overlaps is one find of a check."""
    return sorted(Found(span, check) for check in checks for span in _spans(text, check))


def redacted(text: str, found: Iterable[Found]) -> str:
    """Return the text with a word in place of everything that is to be redacted."""
    parts, position = [], 0
    for start, end, word in replacements(found):
        parts += [text[position:start], word]
        position = end
    return "".join([*parts, text[position:]]) if parts else text


def replacements(found: Iterable[Found]) -> list[tuple[int, int, str]]:
    """Return what is to be redacted: from where to where, and the word that takes its place."""
    made: list[tuple[int, int, str]] = []
    for span in (one.span for one in found if one.check.action == "redact"):
        if made and span.start < made[-1][1]:
            start, end, word = made[-1]
            made[-1] = (start, max(end, span.end), word)
        else:
            made.append((span.start, span.end, f"[{span.kind} removed]"))
    return made


def moved(offset: int, made: Iterable[tuple[int, int, str]]) -> int:
    """Return where a place of a text is after its replacements; one inside of any is at its end."""
    shift = 0
    for start, end, word in made:
        if start >= offset:
            break
        shift += len(word) - (min(end, offset) - start)
    return offset + shift


def judged(value: Any, checks: tuple[Check, ...], tally: Tally, *, path: str = "") -> Any:
    """Look through every text of a JSON value and return it with what has to go redacted."""
    if isinstance(value, str):
        found = look(value, checks)
        for one in found:
            tally.add(one, path=path)
        return redacted(value, found)
    if isinstance(value, list):
        return [judged(one, checks, tally, path=f"{path}/{place}") for place, one in enumerate(value)]
    if isinstance(value, dict):
        return {name: judged(one, checks, tally, path=f"{path}/{name}") for name, one in value.items()}
    return value


def texts(value: Any) -> Iterator[str]:
    """Yield every text of a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from texts(one)
    elif isinstance(value, dict):
        for one in value.values():
            yield from texts(one)


async def beside(work: Callable[[], Result], *, characters: int) -> Result:
    """Do work on so many characters: at once, or in a thread when there are many."""
    if characters <= INLINE_CHARACTERS:
        return work()
    return await asyncio.get_running_loop().run_in_executor(_THREADS, work)


def _spans(text: str, check: Check) -> list[Span]:
    """Look a piece at a time: between two pieces other threads get their turn, which within one they do not."""
    spans: list[Span] = []
    for start in range(0, len(text), PIECE_CHARACTERS):
        shift = max(0, start - 1)  # what a find may not directly follow has to be seen
        piece = text[shift : start + PIECE_CHARACTERS + OVERLAP_CHARACTERS]
        for span in sorted(check.find(piece)):
            begin, end = span.start + shift, span.end + shift
            if not start <= begin < start + PIECE_CHARACTERS:
                continue
            if spans and begin < spans[-1].end:
                spans[-1] = Span(spans[-1].start, max(end, spans[-1].end), spans[-1].kind)
            else:
                spans.append(Span(begin, end, span.kind))
    return spans
