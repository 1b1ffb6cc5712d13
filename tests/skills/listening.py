"""Clients of streams: they read what a server sends, byte for byte, and may leave at any moment."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx2

from kit import sse
from kit.sse import ServerSentEvent
from tests.live import Live

SUMMARIZE = "/v1/skills/summarize/stream"
COMPLETE = "/v1/skills/complete/stream"
CLASSIFY = "/v1/skills/classify/stream"


def text_input(*marks: str, words: int = 40, chunk_ms: int = 0) -> dict[str, Any]:
    """Make the body of a run that answers so many words, at this pace."""
    told = "".join(f"[[emulator:{mark}]]" for mark in marks)
    return {"input": {"text": f"A short story. [[emulator:words:{words}]][[emulator:chunk_ms:{chunk_ms}]]{told}"}}


def json_input(*marks: str) -> dict[str, Any]:
    """Make the body of a run that answers JSON."""
    told = "".join(f"[[emulator:{mark}]]" for mark in marks)
    return {"input": {"text": f"The invoice is late. {told}", "labels": ["billing", "praise"]}}


@dataclass
class Heard:
    """What was read of a stream until now."""

    status: int
    headers: httpx2.Headers
    raw: bytes = b""
    times: list[float] = field(default_factory=list)

    @property
    def events(self) -> list[ServerSentEvent]:
        return sse.Decoder().feed(self.raw)

    @property
    def names(self) -> list[str]:
        return [event.event for event in self.events]

    def data(self, name: str) -> Any:
        return next(json.loads(event.data) for event in self.events if event.event == name)

    @property
    def run_id(self) -> str:
        return str(self.data("run.started")["run_id"])

    @property
    def text(self) -> str:
        return "".join(json.loads(event.data)["text"] for event in self.events if event.event == "text")


@contextmanager
def opened(live: Live, path: str, body: Any = None, **headers: str) -> Iterator[tuple[Heard, Iterator[bytes]]]:
    """Open a stream; leaving the block leaves the connection."""
    method = "GET" if body is None else "POST"
    given = {**live.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
    with (
        httpx2.Client(timeout=30) as client,
        client.stream(method, f"{live.base_url}{path}", json=body, headers=given) as response,
    ):
        heard = Heard(response.status_code, response.headers)
        yield heard, _pieces(response, heard)


def _pieces(response: httpx2.Response, heard: Heard) -> Iterator[bytes]:
    for piece in response.iter_raw():
        heard.raw += piece
        heard.times.append(time.monotonic())
        yield piece


def listen(live: Live, path: str, body: Any = None, **headers: str) -> Heard:
    """Read a stream to its end."""
    with opened(live, path, body, **headers) as (heard, pieces):
        for _ in pieces:
            pass
    return heard


def listen_until(live: Live, path: str, body: Any, enough: Callable[[Heard], bool], **headers: str) -> Heard:
    """Read a stream until it is enough, and leave."""
    with opened(live, path, body, **headers) as (heard, pieces):
        for _ in pieces:
            if enough(heard):
                break
    return heard


def connect(live: Live, path: str, body: Any, *, receive_buffer: int | None = None) -> socket.socket:
    """Send a request on a bare socket and read nothing."""
    client = socket.socket()
    if receive_buffer is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    parts = urlsplit(live.base_url)
    client.connect((parts.hostname, parts.port))
    content = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {live.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    client.sendall(head.encode() + content)
    return client
