"""One SDK client for each event loop and environment, with limits and timeouts of our own."""

import asyncio
import socket
from typing import Any
from weakref import WeakKeyDictionary

import aiohttp
import anthropic
import httpx2
from anthropic._vendor.httpx_aiohttp import AiohttpTransport  # what DefaultAioHttpClient is made of
from django.conf import settings

from kit import loops
from kit.errors import Unavailable
from skills.claude.faults import translated

_CONNECTIONS = 4_000
_KEEPALIVE_SECONDS = 30.0
_READ_AHEAD_BYTES = 8 * 1024
_COUNTED = ("model", "messages", "system", "tools", "tool_choice", "thinking", "output_config")
_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, anthropic.AsyncAnthropic]] = WeakKeyDictionary()


def timeouts() -> httpx2.Timeout:
    """This function will return the time each phase of a call may take."""
    return httpx2.Timeout(
        connect=settings.CLAUDE_CONNECT_SECONDS,
        read=settings.CLAUDE_SILENCE_SECONDS,
        write=settings.CLAUDE_SILENCE_SECONDS,
        pool=settings.CLAUDE_CONNECT_SECONDS,
    )


def client(environment: str) -> anthropic.AsyncAnthropic:
    """This function will return the running loop's client for keys of an environment.

    Test keys reach the emulator and nothing else; Unavailable when there is none.
    """
    of_loop = _clients.get(asyncio.get_running_loop())
    if of_loop is None:
        of_loop = _clients[asyncio.get_running_loop()] = {}
        loops.at_close(close, name="close Claude clients")
    if environment not in of_loop:
        of_loop[environment] = _build(environment)
    return of_loop[environment]


def _build(environment: str) -> anthropic.AsyncAnthropic:
    if environment == "test" and not settings.EMULATOR_URL:
        raise Unavailable("Test keys are answered by the emulator, and none is running here.", retry_after=60)
    is_test = environment == "test"
    return anthropic.AsyncAnthropic(
        api_key="emulator" if is_test else settings.ANTHROPIC_API_KEY,
        base_url=settings.EMULATOR_URL if is_test else settings.ANTHROPIC_BASE_URL,
        max_retries=0,
        timeout=timeouts(),
        open_telemetry=False,
        http_client=anthropic.DefaultAioHttpClient(
            transport=AiohttpTransport(client=_session),
            timeout=timeouts(),
        ),
    )


def _session() -> aiohttp.ClientSession:
    """Little is read ahead: a reader of ours that stops may not cost more than some dozens of KiB upstream."""
    connector = aiohttp.TCPConnector(
        limit=_CONNECTIONS,
        keepalive_timeout=_KEEPALIVE_SECONDS,
        ssl=httpx2.create_ssl_context(),
        socket_factory=_small_socket,
    )
    return aiohttp.ClientSession(connector=connector, read_bufsize=_READ_AHEAD_BYTES)


def _small_socket(address: Any) -> socket.socket:
    family, kind, protocol, _, _ = address
    made = socket.socket(family=family, type=kind, proto=protocol)
    if hasattr(socket, "TCP_WINDOW_CLAMP"):  # not SO_RCVBUF, which counts small packets many times over and stalls
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_WINDOW_CLAMP, 2 * _READ_AHEAD_BYTES)
    return made


async def close() -> None:
    """This function will close the running loop's clients."""
    for opened in (_clients.pop(asyncio.get_running_loop(), None) or {}).values():
        await opened.close()


async def count_tokens(body: dict[str, Any], *, environment: str) -> int:
    """This function will ask Claude how many input tokens a request has; it costs nothing.

    Raises the family of `kit.errors` that upstream faults map to.
    """
    counted = {name: body[name] for name in _COUNTED if name in body}
    with translated():
        answer = await client(environment).messages.count_tokens(model=body["model"], messages=(), extra_body=counted)
    return int(answer.input_tokens)
