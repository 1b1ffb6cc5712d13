"""Callers over HTTP, and what they were told."""

import asyncio
import json
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import aiohttp

Call = Callable[..., Coroutine[Any, Any, "Told"]]
TROUBLE = (aiohttp.ClientError, OSError, TimeoutError)
PATIENCE_SECONDS = 60.0


@dataclass(slots=True)
class Told:
    """One answer; status 0 when the connection broke or the caller gave up."""

    status: int = 0
    body: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    text: str = ""
    trouble: str = ""
    began_at: float = field(default_factory=time.time)
    ended_at: float = 0.0

    @property
    def seconds(self) -> float:
        """How long the caller waited."""
        return self.ended_at - self.began_at

    @property
    def error(self) -> dict[str, Any]:
        """The envelope's error, or nothing."""
        found = self.body.get("error")
        return found if isinstance(found, dict) else {}


def prompt(*, words: int, chunk_ms: float = 0, fault: str = "") -> str:
    """Word a prompt that is answered at a length and a pace: 4 words a chunk."""
    return f"[[emulator:words:{words}]] [[emulator:chunk_ms:{chunk_ms}]] {fault} Tell me something."


def lasting(seconds: float) -> str:
    """Word a prompt whose answer takes some seconds."""
    return prompt(words=int(40 * seconds), chunk_ms=100)


async def run(url: str, key: str, text: str, *, max_tokens: int = 500, leave_after: float = PATIENCE_SECONDS) -> Told:
    """Run the skill `complete` and wait for its JSON, or leave after some seconds."""
    return await post(
        f"{url}/v1/skills/complete", key, {"input": {"prompt": text}, "max_tokens": max_tokens}, leave_after=leave_after
    )


async def stream(
    url: str, key: str, text: str, *, max_tokens: int = 500, leave_after: float = PATIENCE_SECONDS
) -> Told:
    """Read a streamed run of the skill `complete` to its end, or leave after some seconds."""
    body = {"input": {"prompt": text}, "max_tokens": max_tokens}
    return await post(f"{url}/v1/skills/complete/stream", key, body, leave_after=leave_after)


async def relay(url: str, key: str, text: str, *, max_tokens: int = 500, leave_after: float = PATIENCE_SECONDS) -> Told:
    """Read a streamed answer of Claude's own API as we relay it."""
    messages = [{"role": "user", "content": text}]
    body = {"model": "claude-sonnet-5", "max_tokens": max_tokens, "messages": messages, "stream": True}
    return await post(f"{url}/v1/messages", key, body, leave_after=leave_after)


async def post(url: str, key: str, body: Any, *, leave_after: float = PATIENCE_SECONDS, address: str = "") -> Told:
    """Send a body, from another address if one is named, and read the whole answer on a connection of its own."""
    told = Told()
    headers = {"X-API-Key": key} if key else {}
    if address:
        headers["X-Forwarded-For"] = address
    try:
        async with (
            asyncio.timeout(leave_after),
            aiohttp.ClientSession() as session,
            session.post(url, json=body, headers=headers) as response,
        ):
            told.status, told.headers = response.status, dict(response.headers)
            async for chunk in response.content.iter_any():
                told.text += chunk.decode()
    except TROUBLE as trouble:
        told.trouble = type(trouble).__name__
    told.ended_at = time.time()
    if told.text.startswith("{"):
        told.body = _parsed(told.text)
    return told


def _parsed(text: str) -> dict[str, Any]:
    try:
        return dict(json.loads(text))
    except ValueError:
        return {}
