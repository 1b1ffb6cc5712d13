"""What goes over a connection byte by byte, where no SDK looks."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

BODY = {"model": "claude-haiku-5-5", "max_tokens": 50, "messages": [{"role": "user", "content": "Hello"}]}
CLOSE = "Connection: close\r\n"


@pytest.fixture
def wire(emulator: Any) -> Iterator[socket.socket]:
    """Connect to the emulator."""
    address = urlsplit(emulator.url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        yield connection


def request(
    *, method: str = "POST", path: str = "/v1/messages", fields: str = "", version: str = "1.1", **extra: Any
) -> bytes:
    """Return a request as it is written."""
    body = json.dumps({**BODY, **extra}).encode()
    head = f"{method} {path} HTTP/{version}\r\nHost: localhost\r\nX-Api-Key: k\r\n{fields}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def rest(wire: socket.socket) -> bytes:
    """Return everything until the emulator closes the connection."""
    with contextlib.closing(wire.makefile("rb")) as reader:
        return reader.read()


def test_requests_sent_at_once_are_answered_in_their_order(wire: socket.socket) -> None:
    wire.sendall(request(stream=True) + request(path="/nope") + request(fields=CLOSE))

    first, second, third = rest(wire).split(b"HTTP/1.1 ")[1:]

    assert (first[:3], second[:3], third[:3]) == (b"200", b"404", b"200")
    assert first.endswith(b'{"type": "message_stop"}\n\n\r\n0\r\n\r\n')
    assert b"connection: close" not in first + second
    assert b"connection: close" in third


def test_a_client_that_waits_to_send_its_body_is_told_to(wire: socket.socket) -> None:
    head, body = request(fields=f"Expect: 100-continue\r\n{CLOSE}").split(b"\r\n\r\n")
    wire.sendall(head + b"\r\n\r\n")
    assert wire.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"

    wire.sendall(body)

    assert rest(wire).startswith(b"HTTP/1.1 200 OK\r\n")


def test_an_old_client_gets_its_stream_and_the_end_of_the_connection(wire: socket.socket) -> None:
    wire.sendall(request(version="1.0", stream=True))

    head, _, _ = rest(wire).partition(b"\r\n\r\n")

    assert b"\r\nconnection: close\r\n" in head


@pytest.mark.parametrize(("method", "path"), [("HEAD", "/v1/models"), ("HEAD", "/v1/messages")])
def test_an_answer_to_head_has_no_body(wire: socket.socket, method: str, path: str) -> None:
    wire.sendall(request(method=method, path=path, fields=CLOSE))

    head, end, body = rest(wire).partition(b"\r\n\r\n")

    assert (end, body) == (b"\r\n\r\n", b"")
    assert b"\r\ncontent-length: " in head


def test_a_wish_for_another_protocol_is_answered_over_http(wire: socket.socket) -> None:
    wire.sendall(request(fields="Connection: Upgrade\r\nUpgrade: websocket\r\n"))

    assert wire.recv(12) == b"HTTP/1.1 400"


def test_what_is_no_http_is_a_bad_request(wire: socket.socket) -> None:
    wire.sendall(b"hello\r\n\r\n")

    assert rest(wire).startswith(b"HTTP/1.1 400 Bad Request\r\n")
