"""The attempts under way in this process: their leases are renewed here, and here they are ended early.

An attempt ends early when its key is revoked or expires, when its tenant is suspended, or when the
process has to stop. The control channel tells at once; the heartbeat finds out without Redis.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from uuid import UUID
from weakref import WeakKeyDictionary

from kit import clock, control, loops
from kit.errors import AuthenticationFailed, SkillgateError, Unavailable
from tenants import limits
from usage import ledger
from usage.ledger import Reservation

log = logging.getLogger(__name__)

BEAT_SECONDS = 10.0
End = Callable[[SkillgateError], None]


@dataclass(frozen=True, slots=True)
class _Attempt:
    reservation: Reservation
    call_id: str
    end: End
    closed: asyncio.Future[None]


_attempts: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[UUID, _Attempt]] = WeakKeyDictionary()


def _here() -> dict[UUID, _Attempt]:
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
    here = _here()
    closed = asyncio.get_running_loop().create_future()
    here[reservation.event_id] = _Attempt(reservation, call_id, end, closed)
    expiry = _at_expiry(reservation, end)
    try:
        yield
    finally:
        del here[reservation.event_id]
        closed.set_result(None)
        if expiry is not None:
            expiry.cancel()


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
    verdicts = await ledger.heartbeat((one.reservation.event_id, one.reservation.month) for one in attempts.values())
    for event_id, verdict in verdicts.items():
        if verdict == "inactive":
            attempts[event_id].end(AuthenticationFailed())
    await limits.renew([(one.reservation.caller.family_id, one.call_id) for one in attempts.values()])


async def _beat_forever(here: dict[UUID, _Attempt]) -> None:
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


def _end_where(is_meant: Callable[[Reservation], bool]) -> None:
    with suppress(RuntimeError):
        for attempt in list(_attempts.get(asyncio.get_running_loop(), {}).values()):
            if is_meant(attempt.reservation):
                attempt.end(AuthenticationFailed())


def _on_revoked(message: control.Message) -> None:
    _end_where(lambda reservation: reservation.caller.key_id == message.get("key_id"))


def _on_suspended(message: control.Message) -> None:
    _end_where(lambda reservation: reservation.caller.tenant_id == message.get("tenant_id"))


async def _on_connected(_: control.Message) -> None:
    with suppress(Unavailable):  # the periodic beat tries again
        await beat()


control.subscribe(control.CONNECTED, _on_connected)
control.subscribe("key.revoked", _on_revoked)
control.subscribe("tenant.suspended", _on_suspended)
