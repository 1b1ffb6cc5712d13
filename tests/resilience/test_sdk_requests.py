"""What goes to Claude is what the SDK itself would send, header by header."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anthropic
import pytest
from pytest_django import Settings

from kit.errors import SkillgateError
from skills.claude import client, faults
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
    heads: list[dict[str, str]] = field(default_factory=list)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        fields = dict(line.split(": ", 1) for line in head.strip().split("\r\n")[1:])
        self.heads.append({name.lower(): value for name, value in fields.items()})
        await reader.readexactly(int(self.heads[-1]["content-length"]))
        writer.write(ANSWER % self.status)
        await writer.drain()
        writer.close()


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


async def ours() -> None:
    sdk = await client.client(ProviderKey("platform"))
    reply = await sdk.stream(json.dumps({**BODY, "stream": True}).encode(), headers={"x-client-reference": "one"})
    await reply.aclose()


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
