"""The batch endpoints: one skill over many inputs; submit, look, fetch results, steer, delete."""

import asyncio
import hashlib
import json
import tempfile
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from typing import Any, ClassVar
from uuid import UUID

from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from kit import clock, ids
from kit.errors import Conflict, RequestTooLarge, Unavailable
from kit.rest import AsyncAPIView, respond
from kit.wire import JSON, StrictJSONParser
from skills.analyses import dispatch, reading, states
from skills.analyses.models import Analysis
from skills.api import analyses_bodies, batches_bodies, bodies, documentation, following, paging, retries, views
from skills.api.batches_bodies import PREFIX, described
from skills.api.following import EVENT_STREAM
from skills.api.retries import Answer
from skills.batches import intake, lines
from skills.batches import reading as items
from tenants.api import callers
from tenants.keys import Caller

JSON_LINES = "application/x-ndjson"
KIND = Analysis.Kind.BATCH
_CHUNK = 256 * 1024
_MOST_KEYS = 100_000


class LinesParser(BaseParser):
    """A body in JSON Lines: kept on disk, read item by item later, so that its length costs no memory."""

    media_type = JSON_LINES

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> Any:
        """Keep the body in a temporary file; raises `RequestTooLarge`."""
        kept = tempfile.TemporaryFile()  # noqa: SIM115 - it is closed when the request is over
        size = 0
        while chunk := stream.read(_CHUNK):
            size += len(chunk)
            if size > lines.MOST_BYTES:
                kept.close()
                raise RequestTooLarge(f"The body is over {lines.MOST_BYTES} bytes.", limit_bytes=lines.MOST_BYTES)
            kept.write(chunk)
        kept.seek(0)
        return kept


class OtherLinesParser(LinesParser):
    """The same under the media type that some clients know."""

    media_type = "application/jsonl"


class BatchesView(AsyncAPIView):
    """All batches of a tenant."""

    parser_classes: Any = (StrictJSONParser, LinesParser, OtherLinesParser)
    max_body_keys: ClassVar[int] = _MOST_KEYS

    @extend_schema(
        operation_id="submit_batch",
        parameters=[documentation.IDEMPOTENCY_KEY],
        responses=batches_bodies.ACCEPTED,
        request={**documentation.body(batches_bodies.SUBMIT), JSON_LINES: lines.ITEM},
        tags=["batches"],
    )
    async def post(self, request: Request) -> HttpResponseBase:
        """Run one skill over many inputs, in JSON or (with the other fields in the URL) as JSON Lines."""
        caller = await callers.of_request(request, verb="run")
        data: Any = await asyncio.to_thread(lambda: request.data)
        if not hasattr(data, "readline"):
            body = batches_bodies.check(data)
            return await retries.once(request, caller, lambda: _submit(request, caller, body, body["items"]), body=body)
        return await _of_lines(request, caller, data)

    @extend_schema(
        operation_id="list_batches", parameters=paging.PARAMETERS, responses=batches_bodies.MANY, tags=["batches"]
    )
    async def get(self, request: Request) -> Response:
        """List batches, the newest first; `state` (repeatable), `skill`, `limit`, `after` (an id) narrow it."""
        caller = await callers.of_request(request, verb="read", fresh=True)
        shown = await paging.page(request.query_params, caller.tenant_id, kind=KIND, described=described)
        return respond(shown, request=request)


class BatchView(AsyncAPIView):
    """One batch."""

    @extend_schema(operation_id="get_batch", responses=batches_bodies.ONE, tags=["batches"])
    async def get(self, request: Request, batch_id: str) -> Response:
        """Show a batch: its state, how many items are done, what it used."""
        _, row = await _found(request, batch_id, verb="read")
        return respond(described(row), request=request)

    @extend_schema(operation_id="delete_batch", responses=batches_bodies.DELETED, tags=["batches"])
    async def delete(self, request: Request, batch_id: str) -> Response:
        """End a batch if need be and delete its content; what it used stays in the ledger."""
        caller, row = await _found(request, batch_id, verb="run")
        with suppress(Conflict):
            await states.cancel(caller.tenant_id, row["id"])
        await dispatch.delete(caller.tenant_id, row["id"])
        return respond({"id": batch_id, "type": "batch", "deleted": True}, request=request)


class ResultsView(AsyncAPIView):
    """What a batch's items came to."""

    produces: ClassVar[tuple[str, ...]] = (JSON_LINES, JSON)

    @extend_schema(operation_id="get_batch_results", responses=batches_bodies.RESULTS, tags=["batches"])
    async def get(self, request: Request, batch_id: str) -> Any:
        """Stream a line for each item, in the order they were sent: its output, its error, or that it is pending."""
        _, row = await _found(request, batch_id, verb="read")
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingHttpResponse(_lines(row["id"]), content_type=JSON_LINES, headers=headers)


class CancelBatchView(AsyncAPIView):
    """The end of a batch before its time."""

    @extend_schema(operation_id="cancel_batch", responses=batches_bodies.CANCELLED, request=None, tags=["batches"])
    async def post(self, request: Request, batch_id: str) -> Response:
        """Cancel a batch; calls under way end within seconds, and finished items keep their results."""
        caller, row = await _found(request, batch_id, verb="run")
        await states.cancel(caller.tenant_id, row["id"])
        return respond(described(await reading.one(caller.tenant_id, row["id"], kind=KIND)), request=request)


class ResumeBatchView(AsyncAPIView):
    """Going on with a batch that waits for money or failed."""

    @extend_schema(
        operation_id="resume_batch",
        responses=batches_bodies.RESUMED,
        request=documentation.body(analyses_bodies.RESUME),
        tags=["batches"],
    )
    async def post(self, request: Request, batch_id: str) -> Response:
        """Go on with the items that are not done, with a larger envelope if one is given."""
        caller, row = await _found(request, batch_id, verb="run")
        body = bodies.check(analyses_bodies.RESUME, request.data if request.body else {})
        micros = analyses_bodies.micros(body.get("max_cost_usd"))
        await states.resume(caller.tenant_id, row["id"], max_tokens=body.get("max_tokens"), max_micros=micros)
        with suppress(Unavailable):
            await dispatch.wake()
        return respond(described(await reading.one(caller.tenant_id, row["id"], kind=KIND)), request=request)


class BatchEventsView(AsyncAPIView):
    """What a batch says as it goes."""

    produces: ClassVar[tuple[str, ...]] = (EVENT_STREAM, JSON)

    @extend_schema(
        operation_id="follow_batch", parameters=[documentation.LAST_EVENT_ID], responses=documentation.FOLLOWED,
        tags=["batches"],
    )  # fmt: skip
    async def get(self, request: Request, batch_id: str) -> Any:
        """Stream events as they come, from the one after `Last-Event-ID` on; as JSON, those there are so far."""
        caller, row = await _found(request, batch_id, verb="read")
        return await following.answered(request, caller, row["id"], kind=KIND)


async def _found(request: Request, batch_id: str, *, verb: str) -> tuple[Caller, dict[str, Any]]:
    caller = await callers.of_request(request, verb=verb, fresh=True)
    return caller, await reading.one(caller.tenant_id, ids.decode(PREFIX, batch_id), kind=KIND)


async def _of_lines(request: Request, caller: Caller, file: Any) -> HttpResponseBase:
    is_taken = False

    async def work() -> Answer:
        nonlocal is_taken
        is_taken = True
        with file:
            return await _submit(request, caller, body, lines.parsed(file))

    try:
        body = batches_bodies.terms(request.query_params)
        said = {**body, "items": await asyncio.to_thread(_digest, file)}
        return await retries.once(request, caller, work, body=said)
    finally:
        if not is_taken:  # it was refused, or answered as before
            file.close()


async def _submit(request: Request, caller: Caller, body: dict[str, Any], sent: Any) -> Answer:
    version = await views.resolve(caller, body["skill"], label=body.get("label"), version=body.get("version"))
    order = intake.Order(
        version=version,
        items=sent,
        request_id=str(getattr(request, "request_id", "")),
        address=callers.address(request),
        item_max_tokens=body.get("item_max_tokens"),
        max_tokens=body.get("max_tokens"),
        max_micros=analyses_bodies.micros(body.get("max_cost_usd")),
        processing=body.get("processing", Analysis.Processing.IMMEDIATE),
        priority=Analysis.Priority[body.get("priority", "normal").upper()],
        metadata=body.get("metadata", {}),
        callback_url=body.get("callback_url"),
    )
    submitted = await intake.submit(caller, order, now=clock.now())
    with suppress(Unavailable):  # the timetable announces it
        await dispatch.wake()
    content = described(await reading.one(caller.tenant_id, submitted.row["id"], kind=KIND))
    if submitted.secret is not None and retries.key_of(request) is None:  # what a retry gets is stored; a secret is not
        content["callback"] = {"secret": submitted.secret}
    return Answer(content, headers={"Location": content["links"]["self"]}, status=202)


def _digest(file: Any) -> str:
    found = hashlib.file_digest(file, "sha256").hexdigest()
    file.seek(0)
    return found


async def _lines(batch_id: UUID) -> AsyncGenerator[bytes, None]:
    async with aclosing(items.results(batch_id)) as pages:
        async for page in pages:
            shown = (json.dumps(batches_bodies.line(step), ensure_ascii=False, allow_nan=False) for step in page)
            yield "".join(f"{one}\n" for one in shown).encode("utf-8", "replace")
