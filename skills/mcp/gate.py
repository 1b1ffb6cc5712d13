"""The door of `/mcp`: host, key and body are checked here, before the protocol sees anything of a request."""

import asyncio
import importlib
import json
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from http import HTTPStatus
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.http.request import split_domain_port, validate_host

from kit import request_ids, strict_json
from kit.errors import (
    InvalidRequest,
    MethodNotAllowed,
    NotAllowed,
    RequestTooLarge,
    SkillgateError,
    UnsupportedMediaType,
)
from tenants.api import callers
from tenants.keys import Caller

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

Fault = dict[str, int | str]

CALLER = "skillgate.caller"
REQUEST_ID = "skillgate.request_id"
_PARSE_ERROR, _INVALID_REQUEST = -32700, -32600  # JSON-RPC's own
_protocol: list[ModuleType] = []


class Gate:
    """An ASGI application. It needs no lifespan: the first admitted message loads the protocol, in a thread."""

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        headers = _headers(scope)
        with _identified(headers) as request_id:
            signed = _signed(send, request_id=request_id)
            try:
                caller = await _admitted(scope, headers)
                body = await _body(receive)
            except SkillgateError as error:
                await _refuse(error, request_id=request_id, send=signed)
                return
            if body is None:
                return
            if (fault := _fault(body)) is not None:
                await _refuse_body(fault, send=signed)
                return
            inner = {**scope, CALLER: caller, REQUEST_ID: request_id}
            sessions = await (await _loaded()).sessions()
            await sessions.handle_request(inner, _replayed(body, receive), signed)


async def _loaded() -> ModuleType:
    if not _protocol:
        _protocol.append(await asyncio.to_thread(importlib.import_module, f"{__package__}.protocol"))
    return _protocol[0]


async def _admitted(scope: Message, headers: dict[str, str]) -> Caller:
    _check_names(headers)
    caller = await callers.of_request(callers.Bare(scope, headers), verb="run", fresh=True)
    if scope["method"] != "POST":
        raise MethodNotAllowed(
            "Send MCP messages with POST; this server keeps no sessions and no stream beside them.",
            headers={"Allow": "POST"},
        )
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise UnsupportedMediaType("Send MCP messages as `Content-Type: application/json`.")
    return caller


def _check_names(headers: dict[str, str]) -> None:
    """Refuse names that are not this platform's, so that a web page cannot reach it through a name of its own."""
    if not _is_ours(headers.get("host", "")):
        raise InvalidRequest("The Host header names no host of this platform.")
    origin = headers.get("origin")
    if origin is not None and not _is_ours(urlsplit(origin).netloc):
        raise NotAllowed("The Origin header names no host of this platform.")


def _is_ours(host: str) -> bool:
    domain, _ = split_domain_port(host)
    return bool(domain) and validate_host(domain, settings.ALLOWED_HOSTS)


async def _body(receive: Receive) -> bytes | None:
    """Read the whole body; None when the client left before its end."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > settings.MAX_BODY_BYTES:
            raise RequestTooLarge(
                f"The request body is over the limit of {settings.MAX_BODY_BYTES} bytes.",
                limit_bytes=settings.MAX_BODY_BYTES,
            )
        if not message.get("more_body"):
            return b"".join(parts)


def _fault(body: bytes) -> Fault | None:
    """Find what makes a body no message at all; what is wrong within one is the protocol's to say."""
    try:
        message = strict_json.loads(body, max_bytes=settings.MAX_BODY_BYTES)
    except InvalidRequest as fault:
        return {"code": _PARSE_ERROR, "message": fault.message}
    if _is_message(message):
        return None
    wanted = (
        'The body must be one JSON-RPC message: an object with "jsonrpc": "2.0", a method, and the id of a request.'
    )
    return {"code": _INVALID_REQUEST, "message": wanted}


def _is_message(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    number = value.get("id", 0)  # a notification has none
    has_id = isinstance(number, str | int) and not isinstance(number, bool)
    return has_id and value.get("jsonrpc") == "2.0" and isinstance(value.get("method"), str)


def _replayed(body: bytes, receive: Receive) -> Receive:
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay


@contextmanager
def _identified(headers: dict[str, str]) -> Iterator[str]:
    request_id = request_ids.accept(headers.get("x-request-id"))
    token = request_ids.current.set(request_id)
    try:
        yield request_id
    finally:
        request_ids.current.reset(token)


def _signed(send: Send, *, request_id: str) -> Send:
    async def signed(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), (b"request-id", request_id.encode())]}
        await send(message)

    return signed


def _headers(scope: Message) -> dict[str, str]:
    """Join repeated headers by commas, as Django does: two keys are then no key."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        text = value.decode("latin-1")
        key = name.decode("latin-1").lower()
        found[key] = f"{found[key]},{text}" if key in found else text
    return found


async def _refuse(error: SkillgateError, *, request_id: str, send: Send) -> None:
    await _answer(error.envelope(request_id=request_id), status=error.status, headers=error.headers, send=send)


async def _refuse_body(fault: Fault, *, send: Send) -> None:
    content = {"jsonrpc": "2.0", "id": None, "error": fault}
    await _answer(content, status=HTTPStatus.BAD_REQUEST, headers={}, send=send)


async def _answer(content: dict[str, Any], *, status: int, headers: dict[str, str], send: Send) -> None:
    raw = json.dumps(content).encode()
    own = {"Content-Type": "application/json", "Content-Length": str(len(raw)), **headers}
    pairs = [(name.lower().encode(), value.encode("latin-1")) for name, value in own.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": raw, "more_body": False})
