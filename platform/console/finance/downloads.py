"""An export as an answer: its pieces go out as they are made, in a thread of their own, under any kind of server."""

from collections.abc import AsyncIterator, Iterator

from asgiref.sync import sync_to_async
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from kit.errors import SkillgateError
from tenants.models import Tenant
from usage import exports
from usage.exports import Export, Kind, Span, Wall


class Download(StreamingHttpResponse):
    """A file that is never whole in memory: Django would gather a plain iterator before it sends the first byte."""

    def __init__(self, export: Export) -> None:
        self._pieces = export.pieces
        super().__init__(
            export.pieces,
            content_type=export.content_type,
            headers={
                "Content-Disposition": f'attachment; filename="{export.name}"',
                "Cache-Control": "no-store",
                "X-Content-Type-Options": "nosniff",
            },
        )

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def _next(self) -> bytes | None:
        return next(self._pieces, None)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while (piece := await sync_to_async(self._next, thread_sensitive=False)()) is not None:
                yield piece
        finally:
            await sync_to_async(self._pieces.close, thread_sensitive=False)()


def of(tenant: Tenant, kind: Kind, span: Span, *, wall: Wall | None) -> HttpResponseBase:
    """Answer with an export of a tenant's days, or say why there can be none now."""
    try:
        return Download(exports.open_export(tenant, kind, span, wall=wall))
    except SkillgateError as refused:
        return HttpResponse(refused.message, status=refused.status, content_type="text/plain", headers=refused.headers)
