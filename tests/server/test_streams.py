"""Readers that stop, readers that leave, and what they cost."""

import base64
import os
import struct
import time

import pytest

from tests.server.conftest import Serve, Served, read_until

MEBIBYTE = 1024 * 1024


def handshake(path: str, *, headers: str = "") -> bytes:
    key = base64.b64encode(os.urandom(16)).decode()
    return (
        f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n"
    ).encode()


def frame(text: bytes) -> bytes:
    """One masked text frame, the mask being zero."""
    size = bytes([0x80 | len(text)]) if len(text) < 126 else struct.pack("!BQ", 0x80 | 127, len(text))
    return b"\x81" + size + b"\0\0\0\0" + text


def test_a_hundred_readers_that_stop_cost_little_memory_and_no_time(served: Served) -> None:
    served.get("/")
    before = served.memory()
    for number in range(100):
        client = served.connect(receive_buffer=4096)
        if number % 4:
            client.sendall(b"GET /forever HTTP/1.1\r\nHost: x\r\n\r\n")
        else:
            client.sendall(handshake("/socket"))
            read_until(client, b"\r\n\r\n")
            client.sendall(frame(b"flood"))
    time.sleep(3)

    began = time.monotonic()
    assert served.get("/").endswith(b"hello")

    assert time.monotonic() - began < 1.5
    assert served.memory() - before < 50 * MEBIBYTE


def test_a_reader_that_stops_is_dropped_in_time(serve: Serve) -> None:
    served = serve(SKILLGATE_STALL_SECONDS="1")
    served.connect(receive_buffer=4096).sendall(b"GET /forever HTTP/1.1\r\nHost: x\r\n\r\n")

    assert served.wait_for_note("forever ended", seconds=6) > 0.9


def test_a_reader_that_is_only_slow_is_kept(serve: Serve) -> None:
    served = serve(SKILLGATE_STALL_SECONDS="1")
    client = served.connect(receive_buffer=4096)
    client.sendall(b"GET /forever HTTP/1.1\r\nHost: x\r\n\r\n")

    for _ in range(40):
        assert client.recv(8192)
        time.sleep(0.1)

    assert "forever ended" not in served.notes()


@pytest.mark.parametrize(("path", "line"), [("/forever", "forever ended"), ("/deaf", "deaf ended")])
def test_a_stream_ends_when_its_reader_leaves(served: Served, path: str, line: str) -> None:
    client = served.connect()
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    read_until(client, b"\r\n\r\n")

    client.close()

    served.wait_for_note(line, seconds=3)


def test_an_application_that_listens_hears_of_it_at_once(served: Served) -> None:
    client = served.connect()
    client.sendall(b"GET /ticking HTTP/1.1\r\nHost: x\r\n\r\n")
    read_until(client, b"tick\n")

    client.close()

    assert served.wait_for_note("ticking http.disconnect", seconds=3) < 1.5


def test_the_headers_of_a_stream_do_not_wait_for_its_first_chunk(served: Served) -> None:
    client = served.connect()
    client.sendall(b"GET /deaf HTTP/1.1\r\nHost: x\r\n\r\n")
    began = time.monotonic()

    read_until(client, b"\r\n\r\n")

    assert time.monotonic() - began < 1.5


def test_a_websocket_speaks(served: Served) -> None:
    client = served.connect()
    client.sendall(handshake("/socket", headers="Daphne-Root-Path: /evil\r\n"))
    head = read_until(client, b"\r\n\r\n")
    client.sendall(frame(b"hi"))

    assert head.startswith(b"HTTP/1.1 101")
    assert b"server:" not in head.lower()
    assert read_until(client, b"hi") == b"\x81\x0b/socket  hi"


def test_a_websocket_is_closed_with_the_code_the_application_chose(served: Served) -> None:
    client = served.connect()
    client.sendall(handshake("/socket"))
    read_until(client, b"\r\n\r\n")
    client.sendall(frame(b"close"))

    assert client.recv(4) == b"\x88\x02\x03\xf0"  # a close frame with 1008


def test_a_websocket_can_be_refused(served: Served) -> None:
    client = served.connect()
    client.sendall(handshake("/refused"))

    assert read_until(client, b"\r\n\r\n").startswith(b"HTTP/1.1 403")


def test_a_websocket_hears_of_its_client_leaving(served: Served) -> None:
    client = served.connect()
    client.sendall(handshake("/socket"))
    read_until(client, b"\r\n\r\n")

    client.close()

    served.wait_for_note("websocket 1006", seconds=3)


def test_a_flood_into_a_busy_websocket_costs_little_memory(served: Served) -> None:
    client = served.connect()
    client.sendall(handshake("/busy"))
    read_until(client, b"\r\n\r\n")
    before = served.memory()
    client.settimeout(1)
    flood = frame(b"a" * MEBIBYTE) * 200

    with pytest.raises(TimeoutError):
        client.sendall(flood)

    assert served.memory() - before < 20 * MEBIBYTE
