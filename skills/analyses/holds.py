"""A worker's hold on one analysis: renewed while it works, and the one place that says when to stop."""

import asyncio
import random
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from uuid import UUID

from kit import clock, control, loops, pg
from kit.errors import SkillgateError, Unavailable
from skills.analyses import states

if TYPE_CHECKING:
    from skills.flights import Flight

BEAT_SECONDS = 3.0
SLICE_SECONDS = 20.0  # after which an analysis makes room, if another tenant's is waiting
_holds: dict[UUID, "Hold"] = {}


class Stop(Exception):
    """Why work on an analysis ends before it is done."""


class Lost(Stop):
    """The analysis was cancelled or deleted, or belongs to another worker by now."""


class Yielded(Stop):
    """The analysis goes back to the queue, for so many seconds at least."""

    def __init__(self, *, after: float = 0.0, failures: int = 0) -> None:
        super().__init__()
        self.after = after
        self.failures = failures


class Paused(Stop):
    """There is no money for the next step."""

    def __init__(self, error: dict[str, Any], *, retry_after: float) -> None:
        super().__init__()
        self.error = error
        self.retry_after = retry_after


class Failed(Stop):
    """The analysis cannot go on."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__()
        self.error = error


class Hold:
    """Knows whether to go on; calls under way end at once when the analysis is not ours any more."""

    def __init__(self, analysis_id: UUID, *, kind: str, fence: int, tenant_id: int) -> None:
        self.id = analysis_id
        self.kind = kind
        self.fence = fence
        self.tenant_id = tenant_id
        self.since = clock.monotonic()
        self.flights: set[Flight[Any]] = set()
        self._stopped = asyncio.Event()
        self._why: Stop | None = None
        self._beat: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Hold":
        _holds[self.id] = self
        self._beat = loops.start(self._beat_forever(), name=f"hold {self.id}")
        return self

    async def __aexit__(self, *_: object) -> None:
        _holds.pop(self.id, None)
        await loops.end(self._beat)

    @property
    def seconds(self) -> float:
        """For how long the analysis has been held."""
        return clock.monotonic() - self.since

    @property
    def is_lost(self) -> bool:
        """Whether the analysis is not this worker's any more."""
        return isinstance(self._why, Lost)

    def stop(self, why: Stop) -> None:
        """Let no further step begin; what is lost ends its calls too."""
        if self._why is None or isinstance(why, Lost):
            self._why = why
        self._stopped.set()
        if isinstance(why, Lost):
            for flight in list(self.flights):
                flight.end(SkillgateError("The analysis was stopped."))

    def check(self) -> None:
        """Raise why work has to stop, if it has to."""
        if self._why is not None:
            raise self._why

    async def sleep(self, seconds: float) -> None:
        """Wait, or raise as soon as work has to stop."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds * random.uniform(1.0, 1.2)):  # noqa: S311 - spreads retries
                await self._stopped.wait()
        self.check()

    async def _beat_forever(self) -> None:
        while True:
            with suppress(Unavailable):  # the lease outlasts some missed beats; then the fence keeps us from writing
                if not await states.renew(self.id, fence=self.fence):
                    self.stop(Lost())
                elif self.seconds > SLICE_SECONDS and await _others_wait(self.tenant_id):
                    self.stop(Yielded())
            await asyncio.sleep(BEAT_SECONDS)


async def _others_wait(tenant_id: int) -> bool:
    row = await pg.fetch_one(_OTHERS, {"tenant": tenant_id})
    return bool(row and row["waiting"])


def _on_stopped(message: control.Message) -> None:
    with suppress(ValueError, RuntimeError):
        hold = _holds.get(UUID(str(message.get("analysis_id"))))
        if hold is not None:
            hold.stop(Lost())


control.subscribe(states.STOPPED, _on_stopped)
_OTHERS = """
SELECT EXISTS (
    SELECT 1 FROM skills_analysis
    WHERE state = 'queued' AND tenant_id <> %(tenant)s AND dispatched_at < now() - interval '1 second'
) AS waiting
"""
