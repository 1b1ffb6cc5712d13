"""A socket on which nothing is asked for is closed, and one on which something goes on is not."""

import asyncio
import json
from collections.abc import MutableMapping
from typing import Any

import pytest

from skills import consumers
from skills.consumers import session
from tests.factories import make_key, make_tenant

Message = MutableMapping[str, Any]


async def test_a_socket_on_which_nothing_is_asked_for_is_closed(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "IDLE_SECONDS", 0.3)
    secret = make_key(make_tenant("idle")).secret
    heard: asyncio.Queue[Message] = asyncio.Queue()
    said: list[Message] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        said.append(message)

    heard.put_nowait({"type": "websocket.connect"})
    heard.put_nowait({"type": "websocket.receive", "text": json.dumps({"type": "ping", "id": "p"})})
    scope: dict[str, Any] = {
        "type": "websocket",
        "path": "/v1/ws",
        "query_string": b"",
        "headers": [(b"x-api-key", secret.encode())],
        "client": ("127.0.0.1", 1),
    }
    async with asyncio.timeout(30):
        await consumers.websocket(scope, heard.get, send)

    assert [message["type"] for message in said] == ["websocket.accept", "websocket.send", "websocket.close"]
    assert json.loads(said[1]["text"])["event"] == "pong"
    assert said[2]["code"] == 4408
