"""What goes to Claude is what the SDK itself would send, header by header."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import anthropic
import pytest
from pytest_django import Settings

from kit.errors import SkillgateError
from skills.claude import client, faults
from skills.claude.connector import READ_AHEAD_BYTES
from skills.claude.provider import ProviderKey

BODY = {"model": "claude-haiku-4-5", "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]}
ANSWER = b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: 2\r\nrequest-id: req_1\r\n\r\n{}"
OF_THE_TRANSFER = {"host", "content-length", "connection"}
OWN = {"x-client-reference", "user-agent"}  # the SDK's user agent begins with the name of the class


@dataclass
class Listener:
    """Answers every request alike, and remembers their heads."""

    url: str = ""
    status: bytes = b"200 OK"
    before: bytes = b""
    connections: int = 0
    heads: list[dict[str, str]] = field(default_factory=list)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with suppress(asyncio.IncompleteReadError):
            while True:
                await self._answer_one(reader, writer)
        writer.close()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        fields = dict(line.split(": ", 1) for line in head.strip().split("\r\n")[1:])
        self.heads.append({name.lower(): value for name, value in fields.items()})
        await reader.readexactly(int(self.heads[-1]["content-length"]))
        writer.write(self.before + ANSWER % self.status)
        await writer.drain()


@asynccontextmanager
async def listening(settings: Settings) -> AsyncIterator[Listener]:
    found = Listener()
    server = await asyncio.start_server(found.answer, "127.0.0.1", 0)
    found.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    settings.ANTHROPIC_BASE_URL = found.url
    settings.ANTHROPIC_API_KEY = "sk-ant-test"
    try:
        yield found
    finally:
        server.close()
        await client.close()


async def ours(*, said: str = "Hi", reference: str = "one") -> bytes:
    sdk = await client.client(ProviderKey("platform"))
    body = {**BODY, "stream": True, "messages": [{"role": "user", "content": said}]}
    reply = await sdk.reply(sdk.asking(json.dumps(body).encode(), headers={"x-client-reference": reference}))
    try:
        return await reply.read()
    finally:
        reply.close()


async def the_sdks(url: str) -> None:
    async with anthropic.AsyncAnthropic(
        api_key="sk-ant-test", base_url=url, max_retries=0, timeout=client.timeouts()
    ) as sdk:
        stream = await sdk.messages.create(**BODY, stream=True)  # type: ignore[call-overload]  # it is of no fixed shape
        await stream.close()


async def test_a_request_has_the_headers_of_the_sdk(settings: Settings) -> None:
    async with listening(settings) as listener:
        await ours()
        await the_sdks(listener.url)

    mine, theirs = ({n: v for n, v in head.items() if n not in OF_THE_TRANSFER | OWN} for head in listener.heads)
    assert mine == theirs
    assert mine["authorization"].endswith("sk-ant-test")


@pytest.mark.parametrize(
    ("status", "error"),
    [(b"429 Too Many Requests", anthropic.RateLimitError), (b"529 Overloaded", anthropic.APIStatusError)],
)
async def test_a_refusal_is_the_sdks_error(settings: Settings, status: bytes, error: type[Exception]) -> None:
    async with listening(settings) as listener:
        listener.status = status
        with pytest.raises(error) as raised:
            await ours()

    assert isinstance(faults.of_exception(raised.value).error, SkillgateError)


async def test_a_connection_serves_again_once_its_answer_was_read(settings: Settings) -> None:
    async with listening(settings) as listener:
        answers = [await ours(), await ours(said="A long story. " * 100_000), await ours()]

    assert answers == [b"{}", b"{}", b"{}"]
    assert listener.connections == 1


async def test_an_interim_answer_is_passed_over(settings: Settings) -> None:
    async with listening(settings) as listener:
        listener.before = b"HTTP/1.1 100 Continue\r\n\r\n"

        assert await ours() == b"{}"


async def test_what_is_no_http_is_an_error_of_the_sdk(settings: Settings) -> None:
    async with listening(settings) as listener:
        listener.before = b"Welcome to the wrong port.\r\n"

        with pytest.raises(anthropic.APIConnectionError):
            await ours()


async def test_no_header_forges_another(settings: Settings) -> None:
    async with listening(settings) as listener:
        with pytest.raises(ValueError, match="one line"):
            await ours(reference="one\r\nx-api-key: other")

    assert listener.heads == []


@pytest.mark.skipif(not hasattr(socket, "TCP_WINDOW_CLAMP"), reason="only Linux bounds what a connection takes in")
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_connection_reads_little_ahead_however_its_host_is_given(settings: Settings, host: str) -> None:
    async with listening(settings) as upstream:
        settings.ANTHROPIC_BASE_URL = upstream.url.replace("127.0.0.1", host)
        await ours()

        sender = (await client.client(ProviderKey("platform")))._sender
        [[(connection, _)]] = sender._connector._conns.values()
        assert connection.transport is not None
        used = connection.transport.get_extra_info("socket")
        clamp = used.getsockopt(socket.IPPROTO_TCP, socket.TCP_WINDOW_CLAMP)

    assert (upstream.connections, clamp) == (1, 2 * READ_AHEAD_BYTES)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_host_that_refuses_is_an_error_of_the_sdk(settings: Settings, host: str) -> None:
    async with listening(settings) as upstream:
        pass
    settings.ANTHROPIC_BASE_URL = upstream.url.replace("127.0.0.1", host)

    try:
        with pytest.raises(anthropic.APIConnectionError):
            await ours()
    finally:
        await client.close()
