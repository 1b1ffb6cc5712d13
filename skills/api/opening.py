"""How a stream is opened, for every entry point that streams: live, recorded, or found again by its key."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from kit import ids
from kit.errors import NotFound, SkillgateError, StreamGap, Unavailable
from skills import idempotency, replay, runs
from skills.api import rendering, retries
from skills.api.frames import Encoder
from skills.api.sources import Frames, Live, Recorded, Source
from skills.events import RunEvent
from skills.idempotency import Claim, Kept, UnderWay
from skills.replay import Frame, Recording
from skills.runs import Order, Run
from tenants.keys import Caller

EVENT_STREAM = "text/event-stream"


@dataclass(frozen=True, slots=True)
class Opened:
    """A stream that has begun: where its frames come from, headers that tell about it, and how to end a run that was started for it."""

    source: Source
    headers: dict[str, str] = field(default_factory=dict)
    end: Callable[[SkillgateError], None] | None = None
    run: Run | None = None

    def all_headers(self) -> dict[str, str]:
        """Return all headers, also those that are known only once the first frame is there."""
        return self.headers if self.run is None else {**self.headers, **rendering.cache_header(self.run.cache)}


async def opened(order: Order, *, body: dict[str, Any], operation: str, key: str | None) -> Opened:
    """Open the stream of an order; `operation` and `body` are what its `key`, if any, stands for."""
    if key is not None:
        return await open_once(order, key=key, said=idempotency.digest(operation, body))
    return await open_stream(order, is_resumable=bool(body.get("resumable")))


async def open_stream(order: Order, *, is_resumable: bool) -> Opened:
    """Start a run and return its stream; raises what `runs.start` raises.

    A resumable run is recorded and goes on when its client leaves; without Redis it is not resumable.
    """
    run = await runs.start(order)
    recording = None
    if is_resumable:
        recording = await _record(run, order)
    headers = run.admitted.decision.headers()
    if recording is None:
        live = Live(run, Encoder(public_id(run), request_id=order.request_id, is_resumable=False))
        return Opened(live, headers, run.end, run)
    frames = replay.follow_any(recording, family_id=order.caller.family_id)
    return Opened(Recorded(frames), headers, run.end, run)


async def open_once(order: Order, *, key: str, said: bytes) -> Opened:
    """Open the stream of a call with an idempotency key: a new one, or the one it began before.

    Raises what `runs.start` and `idempotency.claim` raise.
    """
    return await retries.detached(_open_once(order, key, said))


def open_again(caller: Caller, *, run_id: UUID, after: int) -> Opened:
    """Return a recorded stream from after a number on; errors come with the first frame."""
    return Opened(Recorded(replay.follow(run_id, family_id=caller.family_id, after=after)))


def public_id(run: Run) -> str:
    """Return a run's id as clients know it."""
    return ids.encode("run", run.id)


async def _record(run: Run, order: Order, claim: Claim | None = None) -> Recording[RunEvent] | None:
    async def close(recording: Recording[RunEvent]) -> None:
        if claim is not None:
            await _keep(claim, recording, run)

    return await replay.record(
        run,
        run_id=run.id,
        family_id=order.caller.family_id,
        encode=lambda is_buffered: Encoder(public_id(run), request_id=order.request_id, is_resumable=is_buffered),
        at_end=close,
        is_needed=claim is not None,
    )


async def _keep(claim: Claim, recording: Recording[RunEvent], run: Run) -> None:
    if not run.is_spent:
        await idempotency.drop(claim)
        return
    content = await recording.content()
    if content is not None:
        await idempotency.keep(claim, Kept(200, EVENT_STREAM, content))
        return
    await idempotency.keep(claim, Kept(StreamGap.status, EVENT_STREAM, b""))


async def _open_once(order: Order, key: str, said: bytes) -> Opened:
    found = await idempotency.claim(order.caller, key, digest=said)
    if isinstance(found, Kept):
        return Opened(Recorded(_kept(found)), dict(retries.REPLAYED))
    if isinstance(found, UnderWay):
        return Opened(Recorded(_joined(found, order.caller)), dict(retries.REPLAYED))
    try:
        run = await runs.start(order)
    except BaseException:
        await idempotency.drop(found)
        raise
    recording = await _record(run, order, found)
    if recording is None:
        raise SkillgateError("The platform failed to record this run.")
    if recording.is_buffered:
        with suppress(Unavailable):  # then a retry has to wait until the run is over
            await idempotency.bind(found, run_id=run.id)
    frames = replay.follow_any(recording, family_id=order.caller.family_id)
    return Opened(Recorded(frames), run.admitted.decision.headers(), run.end, run)


async def _joined(found: UnderWay, caller: Caller) -> Frames:
    """Follow a stream under way from its start; when it cannot be followed, it has to be waited for."""
    after = 0
    try:
        async for frame in replay.follow(found.run_id, family_id=caller.family_id):
            yield frame
            after = frame.number
    except (NotFound, Unavailable) as error:
        raise error if after else idempotency.under_way() from error


async def _kept(answer: Kept) -> Frames:
    if answer.status == StreamGap.status:
        raise StreamGap("The stream that this idempotency key began is too long to be kept whole.")
    frames = answer.content.split(b"\n\n")[:-1]
    for number, content in enumerate(frames, start=1):
        yield Frame(number, content + b"\n\n", is_last=number == len(frames))
