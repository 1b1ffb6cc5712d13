"""Streams as server-sent events: opened by running a skill, continued by the run's id."""

from collections.abc import AsyncIterator, Mapping
from typing import Protocol

from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from kit import ids
from kit.errors import InvalidRequest
from kit.middleware import request_id_of
from kit.rest import AsyncAPIView
from kit.wire import JSON, Plain
from skills import replay
from skills.api import bodies, documentation, frames, lines, opening, retries, views
from skills.api.opening import EVENT_STREAM, Opened
from tenants.api import callers
from tenants.keys import Caller

_HEADERS = {
    "Content-Type": f"{EVENT_STREAM}; charset=utf-8",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
}


class Body(Protocol):
    """The pieces of a stream; one that knows which is its last tells by `is_over`."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Return what yields them."""

    async def aclose(self) -> None:
        """Leave the stream."""


class EventStream(Plain, StreamingHttpResponse):
    """A response whose body ends, and ends its source, the moment the client leaves."""

    def __init__(self, body: Body, *, headers: Mapping[str, str]) -> None:
        super().__init__(status=200, headers={**_HEADERS, **headers})
        self.is_async = True
        self._body = body

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Hand out the body itself: wrapped in a generator it would be closed late."""
        return aiter(self._body)


class SkillStreamView(AsyncAPIView):
    """Running a skill and hearing of it as it goes."""

    produces = (EVENT_STREAM, JSON)

    @extend_schema(
        operation_id="stream_skill",
        parameters=[documentation.IDEMPOTENCY_KEY, documentation.CACHE_CONTROL],
        request=documentation.body(bodies.STREAM),
        responses=documentation.STREAM,
        tags=["skills"],
    )
    async def post(self, request: Request, name: str) -> HttpResponseBase:
        """Run a skill and stream its events."""
        caller = await callers.of_request(request, verb="run")
        body = bodies.check(bodies.STREAM, request.data)
        key = retries.key_of(request)
        version = await views.resolve(caller, name, label=body.get("label"), version=body.get("version"))
        order = views.order(request, caller, version, body, entry_point="sse")
        opened = await opening.opened(order, body=body, operation=request.path, key=key)
        return await respond(request, caller, opened)


class StreamView(AsyncAPIView):
    """A stream that can be continued."""

    produces = (EVENT_STREAM, JSON)

    @extend_schema(
        operation_id="continue_stream",
        parameters=[documentation.LAST_EVENT_ID],
        responses=documentation.RESUMED_STREAM,
        tags=["skills"],
    )
    async def get(self, request: Request, run_id: str) -> HttpResponseBase:
        """Continue a resumable stream after the last event that was received."""
        caller = await callers.of_request(request, verb="run", fresh=True)
        found = ids.decode("run", run_id)
        if found is None:
            raise replay.unknown()
        after = _after(run_id, request.headers.get("Last-Event-ID", ""))
        return await respond(request, caller, opening.open_again(caller, run_id=found, after=after))


def _after(run_id: str, last_event_id: str) -> int:
    after = frames.after(run_id, last_event_id) if last_event_id else 0
    if after is None:
        raise InvalidRequest(
            "Last-Event-ID is not the id of an event of this stream. Send the last `id:` received, or leave it out.",
            header="Last-Event-ID",
        )
    return after


async def respond(request: Request, caller: Caller, opened: Opened) -> EventStream:
    """Answer with a stream; what goes wrong before its first frame is raised."""
    line = await lines.begun(opened.source, caller=caller, request_id=request_id_of(request))
    return EventStream(line, headers=opened.all_headers())
