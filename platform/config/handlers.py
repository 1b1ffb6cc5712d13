"""Django's handler for API paths: no middleware that only pages need, and no thread unless a view asks for one."""

import asyncio
import io
from contextlib import aclosing
from functools import lru_cache
from typing import Any

from asgiref.sync import ThreadSensitiveContext, iscoroutinefunction, sync_to_async
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.exception import response_for_exception
from django.core.signals import request_finished
from django.http.response import HttpResponseBase
from django.urls import ResolverMatch, resolve, set_script_prefix

from config.requests import ApiRequest
from kit import access, doorway, middleware, request_ids

_AT_ONCE_SECONDS = 0.2
_LONGEST_KNOWN_PATH = 200


class ApiHandler(ASGIHandler):
    """An id for the request, the view, and nothing else: sessions, CSRF and messages belong to pages.

    Django starts a thread for each request and sends `request_started` and `request_finished` to receivers that look
    after that thread's connections of the ORM. API views speak to Postgres on the event loop, so here there is a
    thread, and a signal that ends it, only for a view that blocks.
    """

    request_class = ApiRequest

    def load_middleware(self, is_async: bool = False) -> None:  # noqa: FBT001, FBT002 - Django's signature
        """Build no chain: what is done around a view is done here."""
        self._view_middleware: list[Any] = []
        self._template_response_middleware: list[Any] = []
        self._exception_middleware: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request; a client that leaves cancels it."""
        handler: Any = self  # the stubs leave out the parts of Django's handler
        if scope["method"] == "POST":
            await doorway.here().enter()
        first = await receive()
        if first["type"] == "http.request" and not first.get("more_body"):
            body = io.BytesIO(first.get("body", b""))
        else:
            try:
                body = await _whole_body(first, receive, handler)
            except RequestAborted:
                return
        leaving = _Leaving(scope, receive)
        request: ApiRequest | None = None
        try:
            request, refusal = handler.create_request(scope, body)
            response = refusal if request is None else await self._respond(request)
            await self._send(response, request, send)
        except asyncio.CancelledError:
            if not leaving.takes_back():
                raise
        finally:
            leaving.listen_no_more()
            body.close()
            if request is not None and request.resolver_match is not None:
                access.note(route=request.resolver_match.route, request_id=request.request_id)

    async def _respond(self, request: ApiRequest) -> HttpResponseBase:
        """Find the view and call it, directly if it is an `async def` one; what it raises is answered, too."""
        token = middleware.begin(request)
        try:
            if request.script_name:  # a proxy serves this below a path of its own
                set_script_prefix(request.script_name)
            refusal = middleware.refuse_host(request)
            if refusal is not None:
                return refusal
            match, is_async = _found(request.path_info)
            request.resolver_match = match
            if not is_async:
                return await self._block(request)
            response: HttpResponseBase = await match.func(request, *match.args, **match.kwargs)
        except Exception as error:  # noqa: BLE001 - as Django does around each of its middleware
            answer: Any = sync_to_async(response_for_exception, thread_sensitive=False)
            response = await answer(request, error)
        finally:
            request_ids.current.reset(token)
        return response

    async def _block(self, request: ApiRequest) -> HttpResponseBase:
        """Call a view that blocks, in a thread of its own, which gives back its connections when it ends."""
        handler: Any = super()
        async with ThreadSensitiveContext():
            try:
                response: HttpResponseBase = await handler._get_response_async(request)  # noqa: SLF001 - Django's own
            finally:
                await sync_to_async(request_finished.send)(sender=type(self))
        return response

    async def _send(self, response: HttpResponseBase, request: ApiRequest | None, send: Any) -> None:
        """Send an answer as Django does, with its headers encoded in one go."""
        answer: Any = response
        content: bytes = b"" if answer.streaming else answer.content
        try:
            head = _head(answer, request, len(content))
            start = {"type": "http.response.start", "status": answer.status_code, "headers": head}
            if answer.streaming:
                async with aclosing(aiter(answer)) as parts:
                    await send(start)
                    await self._send_parts(parts, send)
            else:
                await send(start)
                await self._send_part(content, send, is_last=True)
        finally:
            for close in answer._resource_closers:  # noqa: SLF001 - `close` would send Django's signal as well
                close()
            answer.closed = True

    async def _send_parts(self, parts: Any, send: Any) -> None:
        """Send a stream as it comes, and its end with its last part if that is known to be the last."""
        is_last = False
        async for part in parts:
            is_last = getattr(parts, "is_over", False)
            if part:
                await self._send_part(part, send, is_last=is_last)
        if not is_last:
            await send({"type": "http.response.body"})

    async def _send_part(self, part: bytes, send: Any, *, is_last: bool) -> None:
        size: int = self.chunk_size
        for start in range(0, len(part) or 1, size):
            is_more = not is_last or start + size < len(part)
            await send({"type": "http.response.body", "body": part[start : start + size], "more_body": is_more})


def _head(response: Any, request: ApiRequest | None, length: int) -> list[tuple[bytes, bytes]]:
    headers = dict(response.headers._store)  # noqa: SLF001 - by name in lower case: the name and the value
    if request is not None:
        headers["request-id"] = ("request-id", request.request_id)
        headers["x-request-id"] = ("X-Request-ID", request.request_id)
    if length and "content-length" not in headers:
        headers["content-length"] = ("Content-Length", str(length))
    lines = list(headers.values())
    if response.cookies:
        lines += [("Set-Cookie", one.output(header="").strip()) for one in response.cookies.values()]
    return [(name.encode("ascii"), value.encode("latin-1")) for name, value in lines]


async def _whole_body(first: dict[str, Any], receive: Any, handler: Any) -> Any:
    """Return a body that comes in pieces, as Django keeps it; raises `RequestAborted`."""
    left = [first]

    async def again() -> Any:
        return left.pop() if left else await receive()

    return await handler.read_body(again)


def _found(path: str) -> tuple[ResolverMatch, bool]:
    """Return which view a path is for, and whether it is an `async def` one; raises `Resolver404`."""
    find = _known if len(path) <= _LONGEST_KNOWN_PATH else _known.__wrapped__
    return find(path)


@lru_cache(maxsize=1_024)
def _known(path: str) -> tuple[ResolverMatch, bool]:
    match = resolve(path)
    return match, iscoroutinefunction(match.func)


class _Leaving:
    """Cancels the task that made it when the client leaves; what is answered at once is not worth a listener.

    Our own server calls back by an extension; with others a task of its own waits for the message.
    """

    def __init__(self, scope: Any, receive: Any) -> None:
        self._receive = receive
        self._when_left = scope.get("extensions", {}).get("skillgate.leaving")
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
        if self._when_left is not None:
            self._when_left(None)

    def _listen(self) -> None:
        if self._when_left is None:
            self._listening = asyncio.create_task(self._wait())
        else:
            self._when_left(self._cancel)

    async def _wait(self) -> None:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._cancel()

    def _cancel(self) -> None:
        if self._answering is not None:
            self._is_told = True
            self._answering.cancel()
