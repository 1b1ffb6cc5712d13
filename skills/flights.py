"""A piece of work under way in a task of its own, with its upstream attempts and whoever listens to it.

Whoever reads its events may leave at any moment. Then it is ended after a grace, or finishes if
it was told to; its upstream call is cancelled, and its usage event is closed all the same.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Generic, Literal, TypeVar

from kit import clock, loops
from kit.errors import AuthenticationFailed, SkillgateError, Unavailable, UpstreamTimeout
from kit.pipes import Pipe
from kit.settings import settings
from skills import claude, inflight, observing, settlements
from skills.admission import Admitted
from skills.claude import StreamEvent
from skills.events import RunUsage
from skills.pursuits import Pursuit
from tenants import limits
from usage import ledger

log = logging.getLogger(__name__)

LEAVE_GRACE_SECONDS = 2.0
STALL_SECONDS = 30.0
_QUEUED_EVENTS = 64

_UNUSED = RunUsage()

Said = TypeVar("Said")
Rendered = TypeVar("Rendered")


class Flight(ABC, Generic[Said]):
    """An admitted run going its way; a subclass says what it performs and how it tells of a failure.

    `finishes_alone`: go on to the end although nobody listens any more (resumable and idempotent calls).
    `is_heard`: something of an answer was said, so that it cannot be begun anew. `is_followed`: somebody hears it.
    """

    def __init__(self, admitted: Admitted, *, finishes_alone: bool = False) -> None:
        self.admitted = admitted
        self.usage = _UNUSED
        self.is_heard = False
        self.is_followed = True
        self._finishes_alone = finishes_alone
        self._pipe: Pipe[Said] | None = None  # made when something is said or waited for
        self._last: Said | None = None
        self._error: SkillgateError | None = None  # that it ended with
        self._render: Callable[[Said], Any] | None = None
        self._rendered: Any = None
        self._ending: asyncio.Future[None] | None = None
        self._is_over = False
        self._settling: Coroutine[Any, Any, None] | None = None
        self._refunding: Coroutine[Any, Any, None] | None = None
        self._ended_by: SkillgateError | None = None
        self._task: asyncio.Task[None]
        self._upstream: asyncio.Task[Any] | None = None  # which is cancelled to hang up
        self._fault: claude.Fault | None = None
        self._gives_up_at = clock.monotonic() + settings.CLAUDE_TOTAL_SECONDS

    @property
    def upstream_headers(self) -> Mapping[str, str]:
        """The headers that go to Claude with each attempt."""
        return {}

    @property
    def is_spent(self) -> bool:
        """Whether anything was used upstream until now; a refusal that billed nothing is not."""
        return self.usage.tokens.total > 0

    @property
    def is_failed_upstream(self) -> bool:
        """Whether the last attempt failed because Claude was unwell."""
        return self._ended_by is None and self._fault is not None and self._fault.is_outage

    @property
    def is_last_attempt(self) -> bool:
        """Whether there is no other attempt after the one under way if it works."""
        return False

    def begin(self) -> None:
        """Set the flight going; its first request goes upstream at once."""
        if self.admitted.call is not None and not inflight.has_just_ended(self.admitted.caller):
            self.admitted.call.send()
        self._task = loops.start(self._drive(), name="run")

    def end(self, error: SkillgateError) -> None:
        """End the flight early; what was produced is billed, once."""
        if not self._is_over and self._ended_by is None:
            self._ended_by = error
            self.hang_up()

    async def events(self) -> AsyncGenerator[Said, None]:
        """Yield what the flight says, to its end; leaving the iteration leaves the flight."""
        try:
            while not self.unheard.is_over:
                for said in await self.unheard.hear():
                    yield said
        finally:
            self.leave()

    async def begun(self) -> Said | None:
        """Wait until the flight says something, and return it: it is heard again. Who waits no longer leaves."""
        try:
            await self.unheard.ready()
        except BaseException:
            self.leave()
            raise
        return self.unheard.first

    async def ending(self, render: Callable[[Said], Rendered]) -> Rendered:
        """Return what `render` makes of the last thing the flight says, and let pass what it says before.

        It is made while the ledger is at work on the settlement, and returned when that is done. Raises the error that
        a flight without an answer ended with.
        """
        self._follow_no_more()
        try:
            if self._last is None:
                self._render = render
                self._ending = asyncio.get_running_loop().create_future()
                await self._ending
            if self._error is not None:
                raise self._error
            if self._last is None:
                raise Unavailable("The run ended without an answer. Try again.")
            rendered: Rendered = render(self._last) if self._rendered is None else self._rendered
            return rendered
        finally:
            self._render = None  # it may hold what holds this
            if not self._is_over:
                self.leave()

    def leave(self) -> None:
        """Hear no more; the flight is ended after a grace, unless it finishes alone."""
        self._follow_no_more()
        if not self._is_over and not self._finishes_alone:
            gone = Unavailable("The client left before the run was complete.")
            asyncio.get_running_loop().call_later(LEAVE_GRACE_SECONDS, self.end, gone)

    @abstractmethod
    async def perform(self) -> Said:
        """Do the work and return the last thing to say."""

    @abstractmethod
    def failed(self, error: SkillgateError) -> Said:
        """Say that there is no answer."""

    @abstractmethod
    async def read(self, events: list[StreamEvent]) -> None:
        """Take in upstream events of the attempt under way, as many as came together."""

    async def pursue(
        self, body: dict[str, Any], reservation: ledger.Reservation, *, fallbacks: Sequence[str] = ()
    ) -> Pursuit:
        """Make attempts until Claude answers, and return what was answered in the end.

        There is another as long as it can help, nothing was heard yet, and budget and time allow it: after a pause
        by the same model, and when that model is used up by the next of `fallbacks`. Each has its own usage event.
        Raises the error of the last one.
        """
        pursuit = Pursuit(body, models=list(fallbacks), purpose=reservation.admission.purpose)
        while True:
            try:
                await self.attempt(pursuit.body, reservation)
            except SkillgateError as error:
                reservation = await self._follow(pursuit, error)
                self.begin_anew()
            else:
                return pursuit

    def begin_anew(self) -> None:
        """Forget what an attempt produced that nobody heard."""

    async def attempt(self, body: dict[str, Any], reservation: ledger.Reservation) -> None:
        """Make one upstream attempt, hand its events to `read`, and settle it.

        Raises the error it or the flight ended with; the usage event is closed by then, unless
        Postgres is away: then it is closed later, and nobody waits for that. What the last attempt
        answered can be worked on while the ledger closes its event: `settled` waits for that.
        """
        place = self.admitted.place
        if place is None:
            raise SkillgateError("An attempt has no place towards Claude.")
        call, self.admitted.call = self.admitted.call, None
        if call is None:
            call = claude.Call(
                body,
                place=place,
                reference=str(reservation.event_id),
                headers=self.upstream_headers,
                within=max(0.0, self._gives_up_at - clock.monotonic()),
            )
        with inflight.Lease(reservation, call_id=self.admitted.call_id) as lease:
            # Told of in the next turn of the loop, when it is sent and Claude is at work.
            asyncio.get_running_loop().call_soon(observing.begun, reservation, body)
            failed = await self._read_all(call)
            seen = call.observed
            closing = seen.closing(reservation.admission, book=self.admitted.book, on=reservation.opened_at.date())
            self._settling = settlements.begin(reservation, closing, lease=lease.keep())
        # What comes alone is sent by now: what is below is done while the ledger is at work.
        self._fault = seen.fault
        place.report(self._fault, is_answered=seen.prompt is not None)
        place.leave()
        is_last = seen.is_finished and self.is_last_attempt
        self._book(reservation, closing, is_last=is_last)
        if is_last:
            await asyncio.sleep(0)  # what is given back goes out first: the answer waits for that as well
        if failed is not None or not is_last:
            await self.settled()
        if failed is not None:
            raise failed

    async def settled(self) -> None:
        """Wait until the event of the attempt that was made is closed; raises what the flight was ended with meanwhile."""
        settling, self._settling = self._settling, None
        if settling is not None:
            await settling
            if self._ended_by is not None:
                raise self._ended_by

    def hang_up(self) -> None:
        """Cancel the attempt under way, which then fails as timed out; the flight goes on."""
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.cancel()

    async def close_unused(self, state: Literal["settled", "released"]) -> None:
        """Close the first usage event without an attempt: `settled` for an answer from elsewhere."""
        await settlements.close(self.admitted.reservation, ledger.Closing(state=state))

    async def say(self, said: Said) -> None:
        """Tell whoever listens, waiting for a slow reader as long as `STALL_SECONDS`."""
        if not self.is_followed:
            return
        if self.unheard.is_full:
            try:
                async with asyncio.timeout(STALL_SECONDS):
                    await self.unheard.room()
            except TimeoutError:
                self.leave()
                return
        self.unheard.put(said)

    @property
    def unheard(self) -> Pipe[Said]:
        """What the flight said and nobody heard yet."""
        if self._pipe is None:
            self._pipe = Pipe(_QUEUED_EVENTS)
        return self._pipe

    def _follow_no_more(self) -> None:
        self.is_followed = False
        if self._pipe is not None:
            self._pipe.take()

    async def _follow(self, pursuit: Pursuit, error: SkillgateError) -> ledger.Reservation:
        """Wait for the next attempt and admit it, or raise why there is none."""
        fault, left = self._fault, self._gives_up_at - clock.monotonic()
        if self._ended_by is not None:
            raise self._ended_by
        if fault is None or self.is_heard:
            raise error
        wait = pursuit.pause(fault, left=left)
        if wait is None and not (fault.is_outage and pursuit.models):
            raise error
        following = asyncio.create_task(pursuit.admit(self.admitted, fault, wait=wait))
        self._upstream = following
        await asyncio.wait({following}, timeout=left)
        if not following.done():
            following.cancel()
            await asyncio.wait({following})
        if following.cancelled():
            raise self._ended_by or error
        try:
            return following.result()
        except AuthenticationFailed:
            raise
        except SkillgateError as refused:  # no budget, no place: what went wrong is what Claude said
            raise error from refused

    async def _drive(self) -> None:
        try:
            with inflight.Running(self.admitted.caller, call_id=self.admitted.call_id, end=self.end):
                try:
                    last = await self.perform()
                    if self._render is not None:
                        self._rendered = self._render(last)
                finally:
                    await self.settled()
        except SkillgateError as error:
            last = self._fail(error)
        except Exception:
            log.exception("run %s broke", self.admitted.call_id)
            last = self._fail(SkillgateError("The platform failed to complete this run."))
        finally:
            self._is_over = True
            if self.admitted.call is not None:
                self.admitted.call.drop()
            if self.admitted.place is not None:
                self.admitted.place.leave()
            await self._give_back()
        self._last = last
        if self._ending is None:
            await self.say(last)
            self.unheard.close()
        elif not self._ending.done():
            self._ending.set_result(None)

    def _fail(self, error: SkillgateError) -> Said:
        self._error = error
        return self.failed(error)

    async def _give_back(self) -> None:
        """Give back what was not used; the end waits for it if its caller's next call might be refused for want of it."""
        if self._refunding is not None and limits.has_room(self.admitted.caller, tokens=self.admitted.taken):
            loops.start(self._refunding, name="refund")  # it is sent
        else:
            await (self._refunding or self._refund())

    def _refund(self) -> Coroutine[Any, Any, None]:
        """Give back to the rate limits what was not used, and the place among the concurrent calls."""
        unused = self.admitted.taken - self.usage.tokens.total
        return limits.refund(self.admitted.caller, tokens=max(0, unused), call_id=self.admitted.call_id)

    async def _read_all(self, call: "claude.Call") -> Exception | None:
        """Hand a call's events to `read`, and return what it failed of: that is raised when the call is settled."""
        if self._ended_by is not None:
            call.drop()
            return None
        self._upstream = self._task
        try:
            async with aclosing(call.pieces()) as pieces:
                async for events in pieces:
                    await self.read(events)
        except asyncio.CancelledError:
            if self._upstream is None:
                self._task.uncancel()  # it was we who hung up
            if self._task.cancelling():
                raise
            return UpstreamTimeout("The answer could not be delivered in time. Try again.", phase="total")
        except Exception as error:  # noqa: BLE001 - whatever it is, what was used is booked first
            return error
        finally:
            self._upstream = None
        return None

    def _book(self, reservation: ledger.Reservation, closing: ledger.Closing, *, is_last: bool) -> None:
        """Add up what an attempt used, and give back what it did not if there is no other."""
        on = reservation.opened_at.date()
        self.usage = self.usage.with_attempt(
            closing.tokens,
            cost_micros=closing.cost_micros,
            is_estimated=closing.state == "estimated",
            saved_micros=self.admitted.book.saved(reservation.admission.model, closing.tokens, on=on),
        )
        if self.admitted.purse is not None:
            self.admitted.purse.spend(tokens=closing.tokens.total, micros=closing.cost_micros)
        if is_last:
            self._refunding = self._refund()
