"""The same application under another ASGI server, with a lifespan and other habits when a client leaves."""

import time
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import anthropic
import httpx2
import pytest

from tests.live import running
from tests.skills.gateway import Gateway, Key
from tests.skills.test_mcp import HANDSHAKE, MODERN, leaves_in_the_middle, progress_of_a_call

WORDS: Any = [{"role": "user", "content": "Tell [[emulator:words:2000]] [[emulator:chunk_ms:50]]"}]


@pytest.fixture(scope="module")
def uvicorn(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Another server on the gateway's database."""
    log = tmp_path_factory.mktemp("uvicorn") / "log"
    with running("uvicorn", "config.asgi:application", "--port", "0", log=log, env=gateway.env) as program:
        yield program.url


@pytest.fixture
def key(gateway: Gateway, uvicorn: str) -> Key:
    """A key that goes to the other server, with the same books behind it."""
    made = gateway.key()
    there = SimpleNamespace(url=uvicorn, rows=gateway.rows, journal=gateway.journal)
    return replace(made, gateway=cast("Gateway", there))


async def test_tools_are_called_with_progress(key: Key) -> None:
    heard, result = await progress_of_a_call(key, era="auto")

    assert not result.is_error
    assert len(heard) >= 4
    key.assert_books_agree()


@pytest.mark.parametrize("version", [HANDSHAKE, MODERN])
def test_a_client_that_leaves_its_tool_ends_the_run(key: Key, version: str) -> None:
    leaves_in_the_middle(key, version=version)
    left_at = time.monotonic()

    assert key.event()["error_type"] == "cancelled"
    assert time.monotonic() - left_at < 3.5


def test_messages_are_streamed(key: Key) -> None:
    with anthropic.Anthropic(api_key=key.secret, base_url=key.gateway.url, max_retries=0) as client:
        asked: Any = {"model": "claude-opus-5", "max_tokens": 50, "messages": [{"role": "user", "content": "Hello"}]}
        with client.messages.stream(**asked) as stream:
            streamed = stream.get_final_text()
        whole = client.messages.create(**asked)

    assert whole.content[0].type == "text"
    assert whole.content[0].text == streamed
    key.assert_books_agree()


def test_a_client_that_leaves_its_stream_ends_the_call(key: Key) -> None:
    body = {"model": "claude-opus-5", "max_tokens": 5000, "messages": WORDS, "stream": True}
    with httpx2.stream("POST", f"{key.gateway.url}/v1/messages", json=body, headers=key.headers) as response:
        next(response.iter_lines())
    left_at = time.monotonic()

    assert key.event()["error_type"] == "cancelled"
    assert time.monotonic() - left_at < 3.5
