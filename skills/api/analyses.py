"""The analysis endpoints: submit, look, follow, steer, delete."""

import asyncio
import hashlib
from contextlib import suppress
from typing import Any, ClassVar

from django.http.response import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from kit import clock, ids
from kit.errors import Conflict, Unavailable
from kit.rest import AsyncAPIView, respond
from kit.wire import JSON, StrictJSONParser
from skills.analyses import dispatch, reading, submission, uploads
from skills.analyses import states as moves
from skills.analyses.models import Analysis
from skills.analyses.stages import Brief
from skills.analyses.submission import Sent, Submission
from skills.api import analyses_bodies, bodies, documentation, following, forms, paging, retries, views
from skills.api.analyses_bodies import PREFIX, described
from skills.api.following import EVENT_STREAM
from skills.api.retries import Answer
from tenants.api import callers
from tenants.keys import Caller


class AnalysesView(AsyncAPIView):
    """All analyses of a tenant."""

    parser_classes: Any = (StrictJSONParser, forms.FileParser)

    @extend_schema(
        operation_id="submit_analysis",
        parameters=[documentation.IDEMPOTENCY_KEY],
        responses=analyses_bodies.ACCEPTED,
        request={**documentation.body(analyses_bodies.SUBMIT), "multipart/form-data": analyses_bodies.SUBMIT},
        tags=["analyses"],
    )
    async def post(self, request: Request) -> HttpResponseBase:
        """Submit an analysis; the work begins at once and goes on without the client."""
        caller = await callers.of_request(request, verb="run")
        body, kept = await _received(request)
        taken: list[Sent] = []

        async def work() -> Answer:
            taken.extend(kept)
            return await _submit(request, caller, body, kept)

        said = {**body, "files": [one.digest.hex() for one in kept]}
        try:
            response = await retries.once(request, caller, work, body=said)
        except Exception:
            if not taken:
                await asyncio.to_thread(uploads.discard, kept)
            raise
        if not taken:  # a retry brought them again
            await asyncio.to_thread(uploads.discard, kept)
        return response

    @extend_schema(
        operation_id="list_analyses", parameters=paging.PARAMETERS, responses=analyses_bodies.MANY, tags=["analyses"]
    )
    async def get(self, request: Request) -> Response:
        """List analyses, the newest first; `state` (repeatable), `skill`, `limit`, `after` (an id) narrow it."""
        caller = await callers.of_request(request, verb="read", fresh=True)
        shown = await paging.page(
            request.query_params, caller.tenant_id, kind=Analysis.Kind.ANALYSIS, described=described
        )
        return respond(shown, request=request)


class AnalysisView(AsyncAPIView):
    """One analysis."""

    @extend_schema(operation_id="get_analysis", responses=analyses_bodies.ONE, tags=["analyses"])
    async def get(self, request: Request, analysis_id: str) -> Response:
        """Show an analysis: its state, progress, usage and documents."""
        caller = await callers.of_request(request, verb="read", fresh=True)
        row = await reading.one(caller.tenant_id, ids.decode(PREFIX, analysis_id))
        return respond(described(row), request=request)

    @extend_schema(operation_id="delete_analysis", responses=analyses_bodies.DELETED, tags=["analyses"])
    async def delete(self, request: Request, analysis_id: str) -> Response:
        """End an analysis if need be and delete its content; what it used stays in the ledger."""
        caller = await callers.of_request(request, verb="run", fresh=True)
        row = await reading.one(caller.tenant_id, ids.decode(PREFIX, analysis_id))
        with suppress(Conflict):
            await moves.cancel(caller.tenant_id, row["id"])
        await dispatch.delete(caller.tenant_id, row["id"])
        return respond({"id": analysis_id, "type": "analysis", "deleted": True}, request=request)


class ResultView(AsyncAPIView):
    """What an analysis came to."""

    @extend_schema(operation_id="get_analysis_result", responses=analyses_bodies.RESULT, tags=["analyses"])
    async def get(self, request: Request, analysis_id: str) -> Response:
        """Show the answer with its citations, once the analysis has succeeded."""
        caller = await callers.of_request(request, verb="read", fresh=True)
        row = await reading.one(caller.tenant_id, ids.decode(PREFIX, analysis_id))
        if row["result"] is None:
            raise Conflict(f"The analysis is {row['state']}; it has no result.", state=row["state"])
        return respond(analyses_bodies.result(row), request=request)


class CancelView(AsyncAPIView):
    """The end of an analysis before its time."""

    @extend_schema(operation_id="cancel_analysis", responses=analyses_bodies.CANCELLED, request=None, tags=["analyses"])
    async def post(self, request: Request, analysis_id: str) -> Response:
        """Cancel an analysis; calls under way end within seconds, and what they used is booked."""
        caller = await callers.of_request(request, verb="run", fresh=True)
        row = await reading.one(caller.tenant_id, ids.decode(PREFIX, analysis_id))
        await moves.cancel(caller.tenant_id, row["id"])
        return respond(described(await reading.one(caller.tenant_id, row["id"])), request=request)


class ResumeView(AsyncAPIView):
    """Going on with an analysis that waits for money or failed."""

    @extend_schema(
        operation_id="resume_analysis",
        responses=analyses_bodies.RESUMED,
        request=documentation.body(analyses_bodies.RESUME),
        tags=["analyses"],
    )
    async def post(self, request: Request, analysis_id: str) -> Response:
        """Go on from the last finished step, with a larger envelope if one is given."""
        caller = await callers.of_request(request, verb="run", fresh=True)
        body = bodies.check(analyses_bodies.RESUME, request.data if request.body else {})
        row = await reading.one(caller.tenant_id, ids.decode(PREFIX, analysis_id))
        await moves.resume(
            caller.tenant_id,
            row["id"],
            max_tokens=body.get("max_tokens"),
            max_micros=analyses_bodies.micros(body.get("max_cost_usd")),
        )
        with suppress(Unavailable):
            await dispatch.wake()
        return respond(described(await reading.one(caller.tenant_id, row["id"])), request=request)


class EventsView(AsyncAPIView):
    """What an analysis says as it goes."""

    produces: ClassVar[tuple[str, ...]] = (EVENT_STREAM, JSON)

    @extend_schema(
        operation_id="follow_analysis", parameters=[documentation.LAST_EVENT_ID], responses=documentation.FOLLOWED,
        tags=["analyses"],
    )  # fmt: skip
    async def get(self, request: Request, analysis_id: str) -> Any:
        """Stream events as they come, from the one after `Last-Event-ID` on; as JSON, those there are so far."""
        caller = await callers.of_request(request, verb="read", fresh=True)
        row = await reading.one(caller.tenant_id, ids.decode(PREFIX, analysis_id))
        return await following.answered(request, caller, row["id"], kind=Analysis.Kind.ANALYSIS)


async def _received(request: Request) -> tuple[dict[str, Any], list[Sent]]:
    # A form's files are on disk already, but reading them out of the form takes a while.
    data = await asyncio.to_thread(lambda: request.data)
    if not hasattr(data, "lists"):
        return bodies.check(analyses_bodies.SUBMIT, data), []
    body, files = forms.read_form(data)
    return bodies.check(analyses_bodies.SUBMIT, body), await uploads.keep(files)


async def _submit(request: Request, caller: Caller, body: dict[str, Any], kept: list[Sent]) -> Answer:
    try:
        submitted = await submission.submit(caller, await _asked(request, caller, body, kept), now=clock.now())
    except BaseException:
        await asyncio.to_thread(uploads.discard, kept)
        raise
    with suppress(Unavailable):  # the timetable announces it
        await dispatch.wake()
    content = described(await reading.one(caller.tenant_id, submitted.row["id"]))
    if submitted.secret is not None and retries.key_of(request) is None:  # what a retry gets is stored; a secret is not
        content["callback"] = {"secret": submitted.secret}
    return Answer(content, headers={"Location": content["links"]["self"]}, status=202)


async def _asked(request: Request, caller: Caller, body: dict[str, Any], kept: list[Sent]) -> Submission:
    version = await views.resolve(caller, body["skill"], label=body.get("label"), version=body.get("version"))
    brief = Brief(version, body.get("input", {}), body.get("instructions", ""), body.get("output_schema"))
    return Submission(
        brief=brief,
        documents=[*_written(body), *kept],
        request_id=str(getattr(request, "request_id", "")),
        address=callers.address(request),
        max_tokens=body.get("max_tokens"),
        max_micros=analyses_bodies.micros(body.get("max_cost_usd")),
        processing=body.get("processing", Analysis.Processing.IMMEDIATE),
        priority=Analysis.Priority[body.get("priority", "normal").upper()],
        metadata=body.get("metadata", {}),
        callback_url=body.get("callback_url"),
    )


def _written(body: dict[str, Any]) -> list[Sent]:
    given = [{"name": "text", "text": body["text"]}] if "text" in body else []
    given += body.get("documents", [])
    return [_sent(one.get("name") or f"document {number}", one["text"]) for number, one in enumerate(given, start=1)]


def _sent(name: str, text: str) -> Sent:
    raw = text.encode()
    digest = hashlib.sha256(raw).digest()
    return Sent(name=name, media_type="text/plain", size_bytes=len(raw), digest=digest, text=text)
