"""What analyses and batches say as they go: as JSON, as server-sent events, or on a WebSocket; the same everywhere."""

import math
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any
from uuid import UUID

from django.http import StreamingHttpResponse
from rest_framework.request import Request

from kit import ids, sse
from kit.errors import InvalidRequest, NotAllowed, NotFound, SkillgateError
from kit.rest import respond
from skills.analyses import reading, states
from skills.api.opening import Opened
from skills.api.sources import Recorded
from skills.replay import DONE, Frame
from tenants.keys import Caller

EVENT_STREAM = "text/event-stream"
_SILENCE_SECONDS = 15.0


async def answered(request: Request, caller: Caller, analysis_id: UUID, *, kind: str) -> Any:
    """Answer with events from the one after `Last-Event-ID` on: as a stream, or those so far as JSON."""
    after = number(request.headers.get("last-event-id") or request.query_params.get("after"))
    if EVENT_STREAM not in request.headers.get("accept", ""):
        found = await reading.events(analysis_id, after=after)
        return respond({"data": [_event(one) for one in found]}, request=request)
    request_id = str(getattr(request, "request_id", ""))
    stream = _written(caller, analysis_id, kind=kind, after=after, request_id=request_id)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingHttpResponse(stream, content_type=EVENT_STREAM, headers=headers)


def opened(caller: Caller, public_id: str, *, after: str | None) -> Opened:
    """Follow an analysis or a batch on a socket; what is wrong with it comes with the first frame.

    Raises `NotAllowed`, `NotFound` for an id that is none, or `InvalidRequest`.
    """
    if not caller.may("read"):
        raise NotAllowed("This key may not be used to read. Ask the tenant's admin for the scope.")
    kinds = {kind: ids.decode(prefix, public_id) for kind, prefix in states.PREFIXES.items()}
    found = next(((kind, known) for kind, known in kinds.items() if known is not None), None)
    if found is None:
        raise NotFound("There is no such analysis.")
    if after is not None and not number(after):
        raise InvalidRequest("`last_event_id` is not the id of an event.", path="/last_event_id")
    return Opened(Recorded(_framed(caller, found[1], kind=found[0], after=number(after))))


def number(text: str | None) -> int:
    """Read the id of an event; what is none means the start."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 19 else 0


async def _written(
    caller: Caller, analysis_id: UUID, *, kind: str, after: int, request_id: str
) -> AsyncGenerator[bytes, None]:
    try:
        following = reading.follow(caller.tenant_id, analysis_id, after=after, silence=_SILENCE_SECONDS, kind=kind)
        async with aclosing(following) as events:
            async for one in events:
                yield sse.comment("still here") if one is None else _encoded(one)
    except SkillgateError as error:
        yield sse.encode("error", error.envelope(request_id=request_id))
    yield DONE


async def _framed(caller: Caller, analysis_id: UUID, *, kind: str, after: int) -> AsyncGenerator[Frame, None]:
    last = after
    following = reading.follow(caller.tenant_id, analysis_id, after=after, silence=math.inf, kind=kind)
    async with aclosing(following) as events:
        async for one in events:
            if one is not None:
                last = one["id"]
                yield Frame(last, _encoded(one))
    public_id = ids.encode(states.PREFIXES[kind], analysis_id)
    yield Frame(last, sse.encode("done", {"analysis_id": public_id}, id=str(last)))
    yield Frame(last, DONE, is_last=True)


def _encoded(row: dict[str, Any]) -> bytes:
    shown = _event(row)
    return sse.encode(row["name"], shown["data"], id=shown["id"])


def _event(row: dict[str, Any]) -> dict[str, Any]:
    return {"id": str(row["id"]), "event": row["name"], "at": row["at"].isoformat(), "data": row["data"]}
