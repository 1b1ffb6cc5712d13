"""Every entry point as a door: the same call through each, and what came of it in the same words."""

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, ClassVar

import aiohttp

MODEL = "claude-sonnet-5"
CLOSED_FOR_AUTHENTICATION = 4401


@dataclass(frozen=True)
class Outcome:
    """`ok` with the text, or an error's type with its message."""

    kind: str
    text: str


@dataclass(frozen=True)
class Wish:
    """One call: a prompt and at most how long its answer may be."""

    prompt: str
    max_tokens: int = 400


class Door(ABC):
    """One way in. `pieces` are what the client sees of an answer, in order, until it is whole."""

    name: ClassVar[str]

    def __init__(self, url: str) -> None:
        self.url = url

    async def call(self, secret: str, wish: Wish) -> Outcome:
        async with aiohttp.ClientSession() as session:
            pieces = [piece async for piece in self.pieces(session, secret, wish)]
        return self.outcome(pieces)

    async def leave(self, secret: str, wish: Wish, *, after_pieces: int, after_seconds: float) -> None:
        """Make a call and cut the connection once so many pieces have come, or so much time has passed."""

        async def watch() -> None:
            seen = 0
            async for _ in self.pieces(session, secret, wish):
                seen += 1
                if after_pieces and seen >= after_pieces:
                    return

        async with aiohttp.ClientSession() as session:
            try:
                async with asyncio.timeout(after_seconds):
                    await watch()
            except TimeoutError:
                pass

    @abstractmethod
    def pieces(self, session: aiohttp.ClientSession, secret: str, wish: Wish) -> AsyncIterator[Any]: ...

    @abstractmethod
    def outcome(self, pieces: list[Any]) -> Outcome: ...


def _headers(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def _refusal(envelope: dict[str, Any]) -> Outcome:
    assert envelope["type"] == "error", envelope
    return Outcome(envelope["error"]["type"], envelope["error"]["message"])


class JsonDoor(Door):
    """A door whose answer is one JSON document."""

    path: ClassVar[str]

    @abstractmethod
    def body(self, wish: Wish) -> dict[str, Any]: ...

    async def pieces(self, session: aiohttp.ClientSession, secret: str, wish: Wish) -> AsyncIterator[Any]:
        async with session.post(self.url + self.path, json=self.body(wish), headers=_headers(secret)) as response:
            yield json.loads(await response.read())


class Rest(JsonDoor):
    name = "rest"
    path = "/v1/skills/complete"

    def body(self, wish: Wish) -> dict[str, Any]:
        return {"input": {"prompt": wish.prompt}, "max_tokens": wish.max_tokens}

    def outcome(self, pieces: list[Any]) -> Outcome:
        [answer] = pieces
        return Outcome("ok", answer["output"]) if answer["type"] == "run" else _refusal(answer)


class Messages(JsonDoor):
    name = "messages"
    path = "/v1/messages"

    def body(self, wish: Wish) -> dict[str, Any]:
        return {"model": MODEL, "max_tokens": wish.max_tokens, "messages": [{"role": "user", "content": wish.prompt}]}

    def outcome(self, pieces: list[Any]) -> Outcome:
        [answer] = pieces
        if answer["type"] != "message":
            return _refusal(answer)
        return Outcome("ok", "".join(block["text"] for block in answer["content"] if block["type"] == "text"))


class Mcp(JsonDoor):
    name = "mcp"
    path = "/mcp"

    def body(self, wish: Wish) -> dict[str, Any]:
        return {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {"name": "complete", "arguments": {"prompt": wish.prompt}},
        }

    async def pieces(self, session: aiohttp.ClientSession, secret: str, wish: Wish) -> AsyncIterator[Any]:
        headers = {**_headers(secret), "Accept": "application/json, text/event-stream"}
        async with session.post(self.url + self.path, json=self.body(wish), headers=headers) as response:
            if response.content_type == "application/json":
                yield json.loads(await response.read())
            else:
                async for event in _events(response):
                    yield event["data"]

    def outcome(self, pieces: list[Any]) -> Outcome:
        answer = pieces[-1]
        if answer.get("type") == "error":
            return _refusal(answer)
        text = answer["result"]["content"][0]["text"]
        return _refusal(json.loads(text)) if answer["result"].get("isError") else Outcome("ok", text)


class EventStream(JsonDoor):
    """A door whose answer is a stream of server-sent events, unless it is refused before."""

    async def pieces(self, session: aiohttp.ClientSession, secret: str, wish: Wish) -> AsyncIterator[Any]:
        async with session.post(self.url + self.path, json=self.body(wish), headers=_headers(secret)) as response:
            if response.content_type == "application/json":
                yield {"event": "error", "data": json.loads(await response.read())}
                return
            async for event in _events(response):
                yield event


class Sse(EventStream):
    name = "sse"
    path = "/v1/skills/complete/stream"

    def body(self, wish: Wish) -> dict[str, Any]:
        return {"input": {"prompt": wish.prompt}, "max_tokens": wish.max_tokens}

    def outcome(self, pieces: list[Any]) -> Outcome:
        errors = [piece["data"] for piece in pieces if piece["event"] == "error"]
        if errors:
            return _refusal(errors[0])
        text = "".join(piece["data"]["text"] for piece in pieces if piece["event"] == "text")
        [whole] = [piece["data"]["output"] for piece in pieces if piece["event"] == "output"]
        assert whole == text
        assert pieces[-1]["data"] == "[DONE]"
        return Outcome("ok", text)


class MessagesStream(EventStream):
    name = "messages stream"
    path = "/v1/messages"

    def body(self, wish: Wish) -> dict[str, Any]:
        return {
            "model": MODEL,
            "max_tokens": wish.max_tokens,
            "stream": True,
            "messages": [{"role": "user", "content": wish.prompt}],
        }

    def outcome(self, pieces: list[Any]) -> Outcome:
        errors = [piece["data"] for piece in pieces if piece["event"] == "error"]
        if errors:
            return _refusal(errors[0])
        deltas = [piece["data"]["delta"] for piece in pieces if piece["event"] == "content_block_delta"]
        assert pieces[-1]["event"] == "message_stop"
        return Outcome("ok", "".join(delta["text"] for delta in deltas if delta["type"] == "text_delta"))


class Socket(Door):
    name = "websocket"

    async def pieces(self, session: aiohttp.ClientSession, secret: str, wish: Wish) -> AsyncIterator[Any]:
        url = self.url.replace("http://", "ws://") + "/v1/ws"
        try:
            connected = await session.ws_connect(url, headers=_headers(secret))
        except aiohttp.WSServerHandshakeError as refused:
            yield {"closed": refused.status}
            return
        async with connected as socket:
            await socket.send_json(
                {
                    "type": "run",
                    "id": "a",
                    "skill": "complete",
                    "input": {"prompt": wish.prompt},
                    "max_tokens": wish.max_tokens,
                }
            )
            async for message in socket:
                said = json.loads(message.data)
                yield said
                if said["event"] in ("done", "error"):
                    return
            yield {"closed": socket.close_code}

    def outcome(self, pieces: list[Any]) -> Outcome:
        last = pieces[-1]
        if "closed" in last:
            assert last["closed"] in (CLOSED_FOR_AUTHENTICATION, 401, 403), last
            return Outcome("authentication_error", "")
        if last["event"] == "error":
            return _refusal(last["data"])
        return Outcome("ok", "".join(piece["data"]["text"] for piece in pieces if piece["event"] == "text"))


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
    event: dict[str, Any] = {"event": "message"}
    async for raw in response.content:
        line = raw.decode().rstrip("\n").rstrip("\r")
        if line.startswith("event: "):
            event["event"] = line.removeprefix("event: ")
        elif line.startswith("data: "):
            text = line.removeprefix("data: ")
            event["data"] = text if text == "[DONE]" else json.loads(text)
        elif not line and "data" in event:
            yield event
            event = {"event": "message"}


DOORS: tuple[type[Door], ...] = (Rest, Sse, Socket, Messages, MessagesStream, Mcp)
