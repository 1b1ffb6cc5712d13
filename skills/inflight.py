"""What is under way in this process: the leases of attempts are renewed here, and here runs are ended early.

A run ends early when its key is revoked or expires, when its tenant is suspended, or when the process
has to stop, whatever it does at that moment: an attempt, a pause between two, a wait for another's answer.
The control channel tells at once; the heartbeat finds out without Redis.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from kit import clock, control, loops
from kit.errors import AuthenticationFailed, SkillgateError, Unavailable
from tenants import keys, limits
from tenants.keys import Caller
from usage import ledger
from usage.ledger import Reservation

log = logging.getLogger(__name__)

BEAT_SECONDS = 10.0
_NEWS_SECONDS = 5.0  # from a run's admission to its begin, by far; what ended meanwhile is heard of before it begins
_MOST_NEWS = 1_000
_LONGEST_TIMER_SECONDS = 86_400.0
End = Callable[[SkillgateError], None]
_Name = tuple[str, int]


class Running:
    """A run under way, as long as the block lasts: `end(error)` is called if it must stop early."""

    __slots__ = ("_call_id", "_expiry", "_here", "caller", "end")

    def __init__(self, caller: Caller, *, call_id: str, end: End) -> None:
        self.caller = caller
        self.end = end
        self._call_id = call_id
        self._here = _here()
        self._expiry: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        self._here.runs[self._call_id] = self
        if self.caller.expires_at is not None:
            self._expiry = _at_expiry(self.caller.expires_at, self.end)
        if self._here.ended_at and self._here.has_just_ended(self.caller):
            self.end(AuthenticationFailed())

    def __exit__(self, *_: object) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
        del self._here.runs[self._call_id]


class Lease:
    """Of a usage event that is open: renewed as long as the block lasts, or when it is kept until `end`."""

    __slots__ = ("_here", "_is_kept", "call_id", "reservation")

    def __init__(self, reservation: Reservation, *, call_id: str) -> None:
        self.reservation = reservation
        self.call_id = call_id
        self._here = _here()
        self._is_kept = False

    def __enter__(self) -> "Lease":
        self._is_kept = False
        self._here.leases.add(self)
        return self

    def __exit__(self, *_: object) -> None:
        if not self._is_kept:
            self.end()

    def keep(self) -> "Lease":
        """Let it outlast its block, to the end of another: an event may be closed long after its run's end."""
        self._is_kept = True
        return self

    def end(self) -> None:
        """Renew it no more."""
        self._here.leases.remove(self)
        if not self._here.leases:
            self._here.emptied.set()


@dataclass(slots=True)
class _Here:
    """What is under way in one event loop, and of whose end it was told a moment ago."""

    runs: dict[str, Running] = field(default_factory=dict)
    leases: set[Lease] = field(default_factory=set)
    emptied: asyncio.Event = field(default_factory=asyncio.Event)
    ended_at: dict[_Name, float] = field(default_factory=dict)

    def note_end(self, name: _Name) -> None:
        """Remember an end for as long as a run that was admitted before it may take to begin."""
        while len(self.ended_at) >= _MOST_NEWS:
            del self.ended_at[next(iter(self.ended_at))]
        self.ended_at[name] = clock.monotonic()

    def has_just_ended(self, caller: Caller) -> bool:
        """Whether the caller was admitted, but its key or tenant has been ended since."""
        oldest = clock.monotonic() - _NEWS_SECONDS
        names = (("key", caller.key_id), ("tenant", caller.tenant_id))
        return any(self.ended_at.get(name, oldest) > oldest for name in names)


def _begun() -> _Here:
    here = _Here()
    loops.start(_beat_forever(here), name="ledger heartbeat")
    control.listener()
    return here


_here = loops.Own(_begun).here


def count() -> int:
    """Return how many usage events are open in the running loop."""
    return len(_here().leases)


def has_just_ended(caller: Caller) -> bool:
    """Tell whether a caller's key or tenant was ended a moment ago: a run that was admitted before does not begin."""
    here = _here()
    return bool(here.ended_at) and here.has_just_ended(caller)


async def idle() -> None:
    """Return once no usage event is open in the running loop."""
    here = _here()
    while here.leases:
        here.emptied.clear()
        await here.emptied.wait()


def end_all(error: SkillgateError) -> None:
    """End every run of the running loop."""
    _end_where(lambda _: True, error)


async def beat() -> None:
    """Renew all leases of the running loop once, and end the runs that may go on no longer."""
    here = _here()
    runs, leases = dict(here.runs), {one.reservation.event_id: one for one in here.leases}
    if leases:
        verdicts = await ledger.heartbeat((event_id, one.reservation.month) for event_id, one in leases.items())
        for event_id, verdict in verdicts.items():
            run = here.runs.get(leases[event_id].call_id)
            if verdict == "inactive" and run is not None:
                run.end(AuthenticationFailed())
    attempted = {one.call_id for one in leases.values()}
    await _end_inactive([run for call_id, run in runs.items() if call_id not in attempted])
    await limits.renew([(run.caller.family_id, call_id) for call_id, run in runs.items()])


async def _end_inactive(between: list[Running]) -> None:
    """End those that have no usage event just now, for which the ledger could speak: they wait between two attempts."""
    if between:
        inactive = await keys.inactive({run.caller.key_id for run in between})
        for run in between:
            if run.caller.key_id in inactive:
                run.end(AuthenticationFailed())


async def _beat_forever(here: _Here) -> None:
    while True:
        await asyncio.sleep(BEAT_SECONDS)
        try:
            await beat()
        except Unavailable:
            log.warning("leases of %s attempts could not be renewed; the next beat tries again", len(here.leases))
        except Exception:
            log.exception("the heartbeat failed; the next beat tries again")


def _at_expiry(expires_at: datetime, end: End) -> asyncio.TimerHandle | None:
    left = max(0.0, (expires_at - clock.now()).total_seconds())
    if left >= _LONGEST_TIMER_SECONDS:
        return None
    return asyncio.get_running_loop().call_later(left, end, AuthenticationFailed())


def _end_where(is_meant: Callable[[Caller], bool], error: SkillgateError) -> None:
    for run in list(_here().runs.values()):
        if is_meant(run.caller):
            run.end(error)


def _on_revoked(message: control.Message) -> None:
    key_id = message["key_id"]
    _here().note_end(("key", key_id))
    _end_where(lambda caller: caller.key_id == key_id, AuthenticationFailed())


def _on_suspended(message: control.Message) -> None:
    tenant_id = message["tenant_id"]
    _here().note_end(("tenant", tenant_id))
    _end_where(lambda caller: caller.tenant_id == tenant_id, AuthenticationFailed())


def _on_resumed(message: control.Message) -> None:
    _here().ended_at.pop(("tenant", message["tenant_id"]), None)


async def _on_connected(_: control.Message) -> None:
    with suppress(Unavailable):  # the periodic beat tries again
        await beat()


control.subscribe(control.CONNECTED, _on_connected)
control.subscribe("key.revoked", _on_revoked)
control.subscribe("tenant.suspended", _on_suspended)
control.subscribe("tenant.resumed", _on_resumed)
