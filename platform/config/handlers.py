"""Django's handler for API paths: no middleware that only pages need, and no thread unless a view asks for one."""

import asyncio
import io
from functools import lru_cache
from typing import Any

from asgiref.sync import SyncToAsync, ThreadSensitiveContext, iscoroutinefunction, sync_to_async
from django.conf import settings
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.core.handlers.exception import convert_exception_to_response
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import ResolverMatch, resolve, set_script_prefix

from kit.middleware import request_ids

_AT_ONCE_SECONDS = 0.2
_LONGEST_KNOWN_PATH = 200


class ApiHandler(ASGIHandler):
    """Request ids around the view, and nothing else: sessions, CSRF and messages belong to pages.

    Django sends `request_started` and `request_finished` to receivers that look after the ORM's connections of a
    thread, and starts that thread for it. API views speak to Postgres on the event loop, so here the signals are
    sent only where a view has used a thread.
    """

    def load_middleware(self, is_async: bool = False) -> None:  # noqa: FBT001, FBT002 - Django's signature
        """Build the chain; Django's own would hop to a thread for each of eight classes."""
        self._view_middleware: list[Any] = []
        self._template_response_middleware: list[Any] = []
        self._exception_middleware: list[Any] = []
        inner: Any = self  # the stubs leave out what is called next
        respond = convert_exception_to_response(inner._get_response_async)  # noqa: SLF001 - Django's own chain ends there
        self._middleware_chain = convert_exception_to_response(request_ids(respond))

    async def handle(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request; a client that leaves cancels it."""
        handler: Any = self  # the stubs leave out the parts of Django's handler
        try:
            body = await self._body(receive)
        except RequestAborted:
            return
        try:
            if prefix := get_script_prefix(scope):
                set_script_prefix(prefix)
            request, refusal = handler.create_request(scope, body)
            if request is None:
                await handler.send_response(refusal, send)
            else:
                await self._answer_unless_left(request, receive, send)
        finally:
            body.close()

    async def _body(self, receive: Any) -> Any:
        """Return the body as a file: in memory when it came in one piece, else as Django keeps it."""
        first: dict[str, Any] | None = await receive()
        if first is not None and first["type"] == "http.request" and not first.get("more_body"):
            return io.BytesIO(first.get("body", b""))

        async def again() -> Any:
            nonlocal first
            message, first = first, None
            return message if message is not None else await receive()

        handler: Any = self
        return await handler.read_body(again)

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        """Answer a request; Django's own would also log a refusal, in a thread, which the access log tells of anyway."""
        respond: Any = self._middleware_chain
        response: HttpResponseBase = await respond(request)
        closing: Any = response
        closing._resource_closers.append(request.close)  # noqa: SLF001 - as Django's own does
        return response

    async def _get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        """Find the view and call it; an `async def` one directly, as no middleware of a view's stands between."""
        match, is_async = _found(request.path_info)
        if not is_async:
            handler: Any = super()
            blocking: HttpResponseBase = await handler._get_response_async(request)  # noqa: SLF001 - Django's own
            return blocking
        request.resolver_match = match
        response: HttpResponseBase = await match.func(request, *match.args, **match.kwargs)
        return response

    async def _answer_unless_left(self, request: HttpRequest, receive: Any, send: Any) -> None:
        leaving = _Leaving(receive)
        try:
            await self._answer(request, send)
        except asyncio.CancelledError:
            if not leaving.takes_back():
                raise
        finally:
            leaving.listen_no_more()

    async def _answer(self, request: HttpRequest, send: Any) -> None:
        handler: Any = self
        response = await handler.run_get_response(request)
        if not response.streaming and response.content:
            response.headers.setdefault("Content-Length", str(len(response.content)))
        try:
            await handler.send_response(response, send)
        finally:
            await _close(response)


def _found(path: str) -> tuple[ResolverMatch, bool]:
    """Return which view a path is for, and whether it is an `async def` one; raises `Resolver404`."""
    find = _known if len(path) <= _LONGEST_KNOWN_PATH else _known.__wrapped__
    return find(path, settings.ROOT_URLCONF)


@lru_cache(maxsize=1_024)
def _known(path: str, urlconf: str) -> tuple[ResolverMatch, bool]:
    match = resolve(path, urlconf)
    return match, iscoroutinefunction(match.func)


class _Leaving:
    """Cancels the task that made it when the client leaves; what is answered at once is not worth a listener."""

    def __init__(self, receive: Any) -> None:
        self._receive = receive
        self._answering: asyncio.Task[Any] | None = asyncio.current_task()
        self._listening: asyncio.Task[None] | None = None
        self._begin = asyncio.get_running_loop().call_later(_AT_ONCE_SECONDS, self._listen)
        self._is_told = False

    def takes_back(self) -> bool:
        """Take the cancellation back, and tell whether the client's leaving was its only reason."""
        return self._is_told and self._answering is not None and not self._answering.uncancel()

    def listen_no_more(self) -> None:
        """End it, and hold nothing that holds this: such a cycle would wait for the garbage collector."""
        self._begin.cancel()
        self._answering = None
        if self._listening is not None:
            self._listening.cancel()
            self._listening = None

    def _listen(self) -> None:
        self._listening = asyncio.create_task(self._wait())

    async def _wait(self) -> None:
        message = await self._receive()
        if message["type"] == "http.disconnect" and self._answering is not None:
            self._is_told = True
            self._answering.cancel()


async def _close(response: HttpResponseBase) -> None:
    context = SyncToAsync.thread_sensitive_context.get(None)
    if isinstance(context, ThreadSensitiveContext) and context in SyncToAsync.context_to_thread_executor:
        await sync_to_async(response.close)()
        return
    closing: Any = response
    closers, closing._resource_closers = closing._resource_closers, []  # noqa: SLF001 - `close` would send the signal
    for close in closers:
        close()
    closing.closed = True
