"""A tenant's months for programs: the report as JSON, and its files."""

import re
from collections.abc import AsyncIterator, Iterator
from datetime import date
from typing import Any, ClassVar

from asgiref.sync import sync_to_async
from django.db import connection
from django.http import HttpResponse, StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from kit import clock
from kit.errors import InvalidRequest, NotAllowed, NotFound
from kit.openapi import answers
from kit.rest import AsyncAPIView, respond
from tenants.api import callers
from tenants.keys import Caller
from tenants.models import Tenant
from usage import exports, reports
from usage.exports import FORMATS, Export, Kind, Span, documents

_MONTH = re.compile(r"(20\d\d)-(0[1-9]|1[0-2])", re.ASCII)
_FILES: dict[str, Kind] = {"events.csv": "csv", "events.xlsx": "xlsx", "focus.csv": "focus"}
_STATEMENT = "statement.pdf"
_REPORT = answers({"type": "object"}, 400, 403)
_PATH = OpenApiParameter("month", OpenApiTypes.STR, OpenApiParameter.PATH, description="A month such as 2026-11.")


class MonthView(AsyncAPIView):
    """A month of the key's tenant."""

    @extend_schema(
        operation_id="get_month_report",
        responses=_REPORT,
        tags=["reports"],
        parameters=[
            _PATH,
            OpenApiParameter(
                "with", OpenApiTypes.STR, description="A month to compare with: adds `changes` and `movers`."
            ),
        ],
    )
    async def get(self, request: Request, month: str) -> Response:
        """Report a month: tokens, cost, charge, calls, errors; by day, skill, model and key; and how complete it is.

        The key must name the verb `reports` in its scopes: it sees all keys of its tenant.
        """
        caller = await _caller(request)
        report = await reports.month_for_client(caller.tenant_id, _month(month, name="month"))
        content = report.as_json()
        other = _query(request, "with")
        if other is not None:
            before = await reports.month_for_client(caller.tenant_id, _month(other, name="with"))
            content["compared_with"] = {
                "month": other,
                "total": before.total.as_json(),
                "changes": [change.as_json() for change in reports.changes(report, before)],
                "movers": [change.as_json() for change in reports.movers(report, before)],
            }
        return respond(content, request=request)


class MonthFileView(AsyncAPIView):
    """A month of the key's tenant as a file."""

    produces: ClassVar[tuple[str, ...]] = ("*/*",)

    @extend_schema(
        operation_id="get_month_file",
        responses={
            (200, "application/octet-stream"): OpenApiTypes.BINARY,
            **{k: v for k, v in _REPORT.items() if k != 200},
        },
        tags=["reports"],
        parameters=[
            _PATH,
            OpenApiParameter("name", OpenApiTypes.STR, OpenApiParameter.PATH, enum=[*_FILES, _STATEMENT]),
        ],
    )
    async def get(self, request: Request, month: str, name: str) -> HttpResponse | StreamingHttpResponse:
        """Download a month: every event as CSV or XLSX, days as FOCUS 1.2 has them, or the statement as PDF.

        Files are streamed and of any length; the figures are those of the report, to the micro-dollar.
        """
        caller = await _caller(request)
        _query(request, "")
        wanted = _month(month, name="month")
        if name == _STATEMENT:
            document = await sync_to_async(_statement, thread_sensitive=False)(caller.tenant_id, wanted)
            return HttpResponse(document, content_type="application/pdf", headers=_named(f"{wanted:%Y-%m}-{name}"))
        kind = _FILES.get(name)
        if kind is None:
            raise NotFound(f"There is no such file; there are {', '.join([*_FILES, _STATEMENT])}.")
        export = await sync_to_async(_export, thread_sensitive=False)(caller.tenant_id, kind, wanted)
        return StreamingHttpResponse(_sent(export), content_type=FORMATS[kind][0], headers=_named(export.name))


async def _caller(request: Request) -> Caller:
    caller = await callers.of_request(request, verb="reports", fresh=True)
    if "reports" not in caller.allowed_verbs:  # all verbs are those about the key itself
        raise NotAllowed(
            "This key may not be used for reports. Ask the tenant's admin for a key with the verb `reports`."
        )
    return caller


def _query(request: Request, name: str) -> str | None:
    unknown = sorted(set(request.query_params) - {name})
    if unknown:
        raise InvalidRequest(f"There is no parameter {unknown[0][:64]!r} here.", path=unknown[0][:64])
    value: str | None = request.query_params.get(name)
    return value


def _month(raw: str, *, name: str) -> date:
    found = _MONTH.fullmatch(raw)
    if found is None:
        raise InvalidRequest(f"`{name}` must be a month such as 2026-11.", path=name)
    return date(int(found[1]), int(found[2]), 1)


def _named(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}


def _statement(tenant_id: int, month: date) -> bytes:
    try:
        return documents.render(Tenant.objects.get(pk=tenant_id), month, now=clock.now())
    finally:
        connection.close()  # this thread's own: nobody else would


def _export(tenant_id: int, kind: Kind, month: date) -> Export:
    try:
        return exports.open_export(Tenant.objects.get(pk=tenant_id), kind, Span.of_month(month))
    finally:
        connection.close()  # this thread's own: nobody else would


async def _sent(export: Export) -> AsyncIterator[bytes]:
    pieces: Iterator[Any] = export.pieces
    try:
        while (piece := await sync_to_async(_next, thread_sensitive=False)(pieces)) is not None:
            yield piece
    finally:
        await sync_to_async(export.pieces.close, thread_sensitive=False)()


def _next(pieces: Iterator[Any]) -> Any:
    return next(pieces, None)
