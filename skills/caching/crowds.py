"""Those who want the same answer at the same time: one makes the call, the others are handed what it shares.

There is one crowd for each key in a process. Its first asks Redis: the answer may be there, or
another process may be making the call, or the lead is free and the first takes it. A lead is a lease:
who holds it renews it, and when its process dies the crowds of the others find it free within seconds.
"""

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from django.conf import settings
from prometheus_client import Counter

from kit import control, ids, loops
from skills.caching import store
from skills.caching.entries import Entry, unpack
from skills.caching.keys import Key
from skills.caching.store import Trouble

ANSWERS = Counter(
    "skillgate_response_cache_total", "Calls of skills that keep answers, by what became of them.", ["outcome"]
)
LOOK_SECONDS = 0.5
_MOST_LOSSES = 2
_RENEWAL_SECONDS = store.LEASE_SECONDS / 3


@dataclass(frozen=True, slots=True)
class Found:
    """The answer is there; it was kept so many seconds ago."""

    entry: Entry
    age_seconds: int
    was_waited_for: bool = False


@dataclass(frozen=True, slots=True)
class Alone:
    """Nothing will be handed over: make the call, and keep nothing of it."""


class Lead:
    """The right to make the call for all; it must be left in the end, whatever happened."""

    def __init__(self, key: Key, *, ttl_seconds: int) -> None:
        self.key = key
        self.owner = ids.secret(16)
        self.shared: Entry | None = None
        self.is_declined = False
        self._ttl_seconds = ttl_seconds
        self._is_held = False
        self._renewal: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()

    async def share(self, entry: Entry) -> None:
        """Hand an answer to all who wait for it, and have it kept where that is possible."""
        self.shared = entry
        packed = entry.pack()
        if packed is not None:
            with suppress(Trouble):  # then it is handed over here and kept nowhere
                await store.keep(self.key, packed, owner=self.owner, ttl_seconds=self._ttl_seconds)
                self._is_held = False
        self.leave()

    def leave(self) -> None:
        """End the lead; without an answer shared the next in the crowd has it. Again does nothing."""
        if self._renewal is not None:
            self._renewal.cancel()
            self._renewal = None
        self._ended.set()

    def decline(self) -> None:
        """Leave the lead for a reason of the caller's own, which says nothing of the next one's call."""
        self.is_declined = True
        self.leave()

    async def ended(self) -> None:
        """Wait until the lead was left."""
        await self._ended.wait()

    def hold(self) -> None:
        """Say that Redis knows of the lead, which is renewed from now on."""
        self._is_held = True
        self._renewal = loops.start(self._renew_forever(), name=f"lead of {self.key.skill}")

    async def let_go(self) -> None:
        """End the lead and tell Redis that it is free."""
        self.leave()
        if self._is_held:
            self._is_held = False
            with suppress(Trouble):  # it lapses then
                await store.leave(self.key, owner=self.owner)

    def again(self) -> "Lead":
        """Return the lead for the next in the crowd, which Redis takes for the same."""
        following = Lead(self.key, ttl_seconds=self._ttl_seconds)
        following.owner, following._is_held = self.owner, self._is_held
        return following

    async def _renew_forever(self) -> None:
        while True:
            await asyncio.sleep(_RENEWAL_SECONDS)
            with suppress(Trouble):  # the next renewal tries again
                await store.renew(self.key, owner=self.owner)


Outcome = Found | Lead | Alone


class Seat:
    """A place in a crowd, for a call that waits."""

    def __init__(self) -> None:
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._deadline = asyncio.get_running_loop().call_later(_patience(), self.give, Alone())
        self.outcome.add_done_callback(lambda _: self._deadline.cancel())

    @property
    def is_free(self) -> bool:
        """Whether nobody sits here any more, or the one who does knows already."""
        return self.outcome.done()

    def give(self, outcome: Outcome) -> bool:
        """Hand over what the crowd came to; False when nobody takes it."""
        if self.outcome.done():
            return False
        self.outcome.set_result(outcome)
        return True

    def leave(self) -> None:
        """Free the seat; a lead that was handed to it meanwhile goes on to the next."""
        if not self.outcome.cancel() and not self.outcome.cancelled():
            outcome = self.outcome.result()
            if isinstance(outcome, Lead):
                outcome.decline()


def _patience() -> float:
    """A lead that lives may take as long as a call may; one that died is found out much earlier."""
    return float(settings.CLAUDE_TOTAL_SECONDS)


class _Crowd:
    """All calls of this process that want one answer, and the task that gets it to them."""

    def __init__(self, key: Key, *, ttl_seconds: int) -> None:
        self.key = key
        self.seats: deque[Seat] = deque()
        self.looked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.changed = asyncio.Event()
        self._lead = Lead(key, ttl_seconds=ttl_seconds)
        self._ttl_seconds = ttl_seconds

    async def run(self) -> None:
        """Go on until nobody waits any more."""
        while self._waiting():
            await self._serve()
            self.looked = asyncio.get_running_loop().create_future()  # who comes from here on is in for another look
            await self._lead.let_go()
            self._lead = self._lead.again()

    async def _serve(self) -> None:
        """Get everybody to an outcome: the answer, or after two calls that failed the call of one's own."""
        losses, has_waited = 0, False
        while self._waiting():
            found = await self._look()
            if isinstance(found, Found):
                self.give_all(Found(found.entry, found.age_seconds, was_waited_for=has_waited))
            elif not found:
                await self._heard()
            elif not await self._led():
                losses += 1
                if losses >= _MOST_LOSSES:
                    self.give_all(Alone())
            has_waited = True

    async def _look(self) -> Found | bool:
        """Return the answer, or whether the lead is this crowd's."""
        self.changed.clear()
        try:
            looked = await store.seek(self.key, owner=self._lead.owner)
        except Trouble:
            return True  # the crowd is that of this process then
        if looked.verdict == "found" and (entry := unpack(looked.packed)) is not None:
            return Found(entry, max(0, self._ttl_seconds - looked.left_ms // 1_000 - 1))
        if looked.verdict == "leads":
            self._lead.hold()
        return looked.verdict != "waits"

    async def _led(self) -> bool:
        """Give the lead to the first who takes it, and what it shares to all others; whether it shared anything."""
        lead, is_taken = self._lead, False
        while self.seats and not is_taken:
            is_taken = self.seats.popleft().give(lead)
        if not is_taken:
            return False
        self._is_looked()
        await lead.ended()
        self._lead = lead.again()
        if lead.shared is not None:
            self.give_all(Found(lead.shared, 0, was_waited_for=True))
        return lead.shared is not None or lead.is_declined

    async def _heard(self) -> None:
        """Wait until the key is said to have changed, or for a moment: what was said may have been missed."""
        self._is_looked()
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                await self.changed.wait()

    def _waiting(self) -> bool:
        while self.seats and self.seats[0].is_free:
            self.seats.popleft()
        return bool(self.seats)

    def give_all(self, outcome: Outcome) -> None:
        """Hand one outcome to everybody who waits."""
        while self.seats:
            self.seats.popleft().give(outcome)
        self._is_looked()

    def _is_looked(self) -> None:
        if not self.looked.done():
            self.looked.set_result(None)


_crowds: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Key, _Crowd]] = WeakKeyDictionary()


async def enter(key: Key, *, ttl_seconds: int) -> Found | Lead | Alone | Seat:
    """Join the crowd of a key: the answer, the lead, or a seat to wait in.

    A seat must be left, and a lead too. It takes as long as a look into Redis, which a crowd shares.
    """
    here = _crowds.setdefault(asyncio.get_running_loop(), {})
    crowd, seat = here.get(key), Seat()
    if crowd is None:
        crowd = here[key] = _Crowd(key, ttl_seconds=ttl_seconds)
        crowd.seats.append(seat)
        loops.start(_run(here, crowd), name=f"crowd of {key.skill}")
    else:
        crowd.seats.append(seat)
    either: set[asyncio.Future[Any]] = {seat.outcome, crowd.looked}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    except BaseException:
        seat.leave()
        raise
    return seat.outcome.result() if seat.outcome.done() else seat


async def take_over(key: Key, *, ttl_seconds: int) -> Lead:
    """Return the lead whoever has it, for a call that wants a new answer and has it kept."""
    lead = Lead(key, ttl_seconds=ttl_seconds)
    try:
        await store.take(key, owner=lead.owner)
    except Trouble:
        return lead
    lead.hold()
    loops.start(_released(lead), name=f"lead of {key.skill}")
    return lead


def count(outcome: str) -> None:
    """Count a call as hit, wait (handed over by another), miss, refresh or off."""
    ANSWERS.labels(outcome).inc()


async def _run(here: dict[Key, _Crowd], crowd: _Crowd) -> None:
    try:
        await crowd.run()
    finally:
        here.pop(crowd.key, None)
        crowd.give_all(Alone())


async def _released(lead: Lead) -> None:
    await lead.ended()
    await lead.let_go()


def _on_changed(message: control.Message) -> None:
    here = _crowds.get(asyncio.get_running_loop(), {})
    crowd = here.get(Key(message["tenant_id"], message["skill"], message["digest"]))
    if crowd is not None:
        crowd.changed.set()


control.subscribe(store.CHANGED, _on_changed)
