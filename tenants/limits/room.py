"""What this process expects of the room under a key's limits, to begin already what will hardly be in vain.

It decides nothing: whoever begins something on it undoes that if the limits refuse the call after all.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from kit import clock
from tenants.limits.decisions import Decision

_GOOD_FOR_SECONDS = 10.0
_MOST_FAMILIES = 10_000


@dataclass(slots=True)
class _Room:
    requests: float
    tokens: float
    concurrent: float
    until: float


class Rooms:
    """Half of what the limits last said was left, per family: the other half is for what other processes take."""

    def __init__(self, *, monotonic: Callable[[], float] = clock.monotonic) -> None:
        self._monotonic = monotonic
        self._rooms: OrderedDict[int, _Room] = OrderedDict()

    def note(self, family_id: int, decision: Decision) -> None:
        """Take in what the limits said of a call."""
        self._rooms[family_id] = _Room(
            requests=decision.requests.remaining / 2,
            tokens=decision.tokens.remaining / 2,
            concurrent=decision.concurrent.remaining / 2,
            until=self._monotonic() + _GOOD_FOR_SECONDS,
        )
        while len(self._rooms) > _MOST_FAMILIES:
            self._rooms.popitem(last=False)

    def has(self, family_id: int, *, tokens: int) -> bool:
        """Tell whether one more call will hardly be refused."""
        room = self._rooms.get(family_id)
        if room is None or room.until < self._monotonic():
            return False
        return room.requests >= 1 and room.tokens >= tokens and room.concurrent >= 1

    def take(self, family_id: int, *, tokens: int) -> bool:
        """Tell whether one more call will hardly be refused; it has its part of the room until the limits speak again."""
        if not self.has(family_id, tokens=tokens):
            return False
        room = self._rooms[family_id]
        room.requests, room.tokens, room.concurrent = room.requests - 1, room.tokens - tokens, room.concurrent - 1
        return True
