"""The attempts under way in this process, and the waits between them: their leases are renewed here, and here they are ended early.

An attempt ends early when its key is revoked or expires, when its tenant is suspended, or when the
process has to stop. The control channel tells at once; the heartbeat finds out without Redis.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from uuid import UUID
from weakref import WeakKeyDictionary

from kit import clock, control, loops
from kit.errors import AuthenticationFailed, SkillgateError, Unavailable
from tenants import limits
from tenants.keys import Caller
from usage import ledger
from usage.ledger import Reservation

log = logging.getLogger(__name__)

BEAT_SECONDS = 10.0
End = Callable[[SkillgateError], None]


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One under way, or, without a reservation, the wait of a run between two of them."""

    caller: Caller
    reservation: Reservation | None
    call_id: str
    end: End
    closed: asyncio.Future[None]


_Here = dict[UUID | str, _Attempt]
_attempts: WeakKeyDictionary[asyncio.AbstractEventLoop, _Here] = WeakKeyDictionary()


def _here() -> _Here:
    loop = asyncio.get_running_loop()
    here = _attempts.get(loop)
    if here is None:
        here = _attempts[loop] = {}
        loops.start(_beat_forever(here), name="ledger heartbeat")
        control.listener()
    return here


@contextmanager
def registered(reservation: Reservation, *, call_id: str, end: End) -> Iterator[None]:
    """This function will keep an attempt's lease renewed inside the block, and call `end(error)` if it must stop early."""
    with _held(reservation.event_id, reservation.caller, reservation, call_id=call_id, end=end):
        expiry = _at_expiry(reservation, end)
        try:
            yield
        finally:
            if expiry is not None:
                expiry.cancel()


def waiting(caller: Caller, *, call_id: str, end: End) -> AbstractContextManager[None]:
    """This function will call `end(error)` if a run that waits for its next attempt inside the block must stop early."""
    return _held(call_id, caller, None, call_id=call_id, end=end)


@contextmanager
def _held(
    name: UUID | str, caller: Caller, reservation: Reservation | None, *, call_id: str, end: End
) -> Iterator[None]:
    here = _here()
    closed = asyncio.get_running_loop().create_future()
    here[name] = _Attempt(caller, reservation, call_id, end, closed)
    try:
        yield
    finally:
        del here[name]
        closed.set_result(None)


def count() -> int:
    """This function will return how many attempts are under way in the running loop."""
    return len(_attempts.get(asyncio.get_running_loop(), {}))


async def idle() -> None:
    """This function will return once no attempt is under way in the running loop."""
    here = _here()
    while here:
        await asyncio.wait({attempt.closed for attempt in here.values()}, return_when=asyncio.ALL_COMPLETED)


def end_all(error: SkillgateError) -> None:
    """This function will end every attempt of the running loop."""
    for attempt in list(_attempts.get(asyncio.get_running_loop(), {}).values()):
        attempt.end(error)


async def beat() -> None:
    """This function will renew all leases of the running loop once, and end what may go on no longer."""
    here = _here()
    if not here:
        return
    attempts = dict(here)
    reserved = [one.reservation for one in attempts.values() if one.reservation is not None]
    verdicts = await ledger.heartbeat((one.event_id, one.month) for one in reserved) if reserved else {}
    for event_id, verdict in verdicts.items():
        if verdict == "inactive":
            attempts[event_id].end(AuthenticationFailed())
    await limits.renew([(one.caller.family_id, one.call_id) for one in attempts.values()])


async def _beat_forever(here: _Here) -> None:
    while True:
        await asyncio.sleep(BEAT_SECONDS)
        try:
            await beat()
        except Unavailable:
            log.warning("leases of %s attempts could not be renewed; the next beat tries again", len(here))
        except Exception:
            log.exception("the heartbeat failed; the next beat tries again")


def _at_expiry(reservation: Reservation, end: End) -> asyncio.TimerHandle | None:
    expires_at = reservation.caller.expires_at
    if expires_at is None:
        return None
    left = max(0.0, (expires_at - clock.now()).total_seconds())
    return (
        asyncio.get_running_loop().call_later(min(left, 86_400.0), end, AuthenticationFailed())
        if left < 86_400.0
        else None
    )


def _end_where(is_meant: Callable[[Caller], bool]) -> None:
    with suppress(RuntimeError):
        for attempt in list(_attempts.get(asyncio.get_running_loop(), {}).values()):
            if is_meant(attempt.caller):
                attempt.end(AuthenticationFailed())


def _on_revoked(message: control.Message) -> None:
    _end_where(lambda caller: caller.key_id == message.get("key_id"))


def _on_suspended(message: control.Message) -> None:
    _end_where(lambda caller: caller.tenant_id == message.get("tenant_id"))


async def _on_connected(_: control.Message) -> None:
    with suppress(Unavailable):  # the periodic beat tries again
        await beat()


control.subscribe(control.CONNECTED, _on_connected)
control.subscribe("key.revoked", _on_revoked)
control.subscribe("tenant.suspended", _on_suspended)
