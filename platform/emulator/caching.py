"""Prompt caching: a marked prefix is written once for its lifetime and read until then, per key and model."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from emulator.refusals import invalid

if TYPE_CHECKING:
    from emulator.prompts import Prompt, Segment

MINIMUM = 1_024
_LIFETIME = {"5m": 300.0, "1h": 3_600.0}
_KEPT = 50_000


@dataclass(slots=True, frozen=True)
class Consumed:
    """What a prompt is billed, by class."""

    input_tokens: int
    write_5m: int = 0
    write_1h: int = 0
    read: int = 0


class Prefix(NamedTuple):
    """The prompt up to the end of one segment."""

    digest: bytes
    tokens: int
    ttl: str | None


class PromptCache:
    """Remembers which prefixes were written, and until when."""

    def __init__(self) -> None:
        self._entries: dict[bytes, tuple[float, float]] = {}

    def consume(self, prompt: Prompt, *, scope: str, now: float) -> Consumed:
        """Return what the prompt costs now, and remember its marked prefixes."""
        if not any(segment.ttl for segment in prompt.segments):
            return Consumed(prompt.total)
        prefixes = _prefixes(prompt.segments, scope=scope)
        marked = [prefix for prefix in prefixes if prefix.ttl and prefix.tokens >= MINIMUM]
        if not marked:
            return Consumed(prompt.total)
        read = self._longest(prefixes, until=marked[-1], now=now)
        written = {"5m": 0, "1h": 0}
        reached = read
        for prefix in marked:
            written[prefix.ttl or "5m"] += max(0, prefix.tokens - reached)
            reached = max(reached, prefix.tokens)
            self._remember(prefix, now=now)
        return Consumed(prompt.total - marked[-1].tokens, written["5m"], written["1h"], read)

    def _longest(self, prefixes: list[Prefix], *, until: Prefix, now: float) -> int:
        for prefix in reversed(prefixes[: prefixes.index(until) + 1]):
            entry = self._entries.get(prefix.digest)
            if entry and entry[0] > now:
                self._entries[prefix.digest] = (now + entry[1], entry[1])
                return prefix.tokens
        return 0

    def _remember(self, prefix: Prefix, *, now: float) -> None:
        if len(self._entries) >= _KEPT:
            self._entries = {key: entry for key, entry in self._entries.items() if entry[0] > now}
        lifetime = _LIFETIME[prefix.ttl or "5m"]
        known = self._entries.get(prefix.digest)
        if known and known[0] > now:
            lifetime = max(lifetime, known[1])
        self._entries[prefix.digest] = (now + lifetime, lifetime)


def check_order(prompt: Prompt) -> None:
    """Refuse an hour's mark after a five minutes' mark, as the API does."""
    marks = [segment.ttl for segment in prompt.segments if segment.ttl]
    if "5m" in marks and "1h" in marks[marks.index("5m") :]:
        raise invalid("cache_control: a ttl='1h' block must not come after a ttl='5m' block.")


def _prefixes(segments: list[Segment], *, scope: str) -> list[Prefix]:
    digest = hashlib.blake2b(scope.encode(), digest_size=16)
    reached = 0
    found = []
    for segment in segments:
        digest.update(segment.identity.encode("utf-8", "surrogatepass") + b"\0")
        reached += segment.tokens
        found.append(Prefix(digest.digest(), reached, segment.ttl))
    return found
