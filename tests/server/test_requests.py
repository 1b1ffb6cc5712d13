"""What the server takes, what it refuses, and in which form."""

import json
import socket
import time
from collections.abc import Iterator

import pytest

from tests.server.conftest import Serve, Served, read_all, read_until, serving

MEBIBYTE = 1024 * 1024


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("requests")) as serve:
        yield serve()


@pytest.fixture
def served(shared: Served) -> Iterator[Served]:
    """One server for all of these, which has nothing noted and nobody connected when a test begins."""
    shared.journal.write_text("startup\n")
    yield shared
    shared.hang_up()


def head_and_body(answer: bytes) -> tuple[bytes, bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return head, body


def assert_refused(answer: bytes, *, status: int, type: str = "invalid_request_error") -> None:  # noqa: A002 - the wire's
    head, body = head_and_body(answer)
    assert head.startswith(f"HTTP/1.1 {status} ".encode()), answer[:300]
    assert b"application/json" in head
    envelope = json.loads(body)
    assert envelope["type"] == "error"
    assert envelope["error"]["type"] == type
    assert f"request-id: {envelope['request_id']}".lower().encode() in head.lower()
    assert b"secret" not in answer
    assert b"<html" not in answer


def test_an_answer_names_no_server(served: Served) -> None:
    head, body = head_and_body(served.get("/"))

    assert head.startswith(b"HTTP/1.1 200 OK")
    assert b"server:" not in head.lower()
    assert body == b"hello"


def test_a_client_cannot_choose_the_root_path(served: Served) -> None:
    answer = served.get("/scope", headers="Daphne-Root-Path: /evil\r\nDAPHNE-ROOT-PATH: /evil\r\nX_Under: 1\r\n")

    assert b"root='' " in answer
    assert b"daphne" not in answer
    assert b"x_under" not in answer


def test_a_connection_is_kept_for_the_next_request(served: Served) -> None:
    client = served.connect()
    for _ in range(3):
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_until(client, b"hello").startswith(b"HTTP/1.1 200")


def test_pipelined_requests_are_answered_in_order(served: Served) -> None:
    body = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"

    answer = served.ask(body * 5 + b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

    assert answer.count(b"HTTP/1.1 200") == 6
    assert answer.endswith(b"hello")


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 3\r\n",
        b"Content-Length:  3 \r\nX-Odd:\t a:b  c \t\r\nx-odd: \xc3\xa9\r\nX-Empty:\r\nTE: trailers\r\nX_Low: no\r\n",
        b"Transfer-Encoding: chunked\r\nCookie: a=b\r\nCookie: c=d\r\n",
        b"content-length: 3\r\nX-Folded: a\r\n b\r\n",
    ],
)
def test_a_request_means_the_same_whole_and_byte_by_byte(served: Served, headers: bytes) -> None:
    body = b"3\r\nabc\r\n0\r\n\r\n" if b"chunked" in headers else b"abc"
    raw = b"POST /%61ll?q=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + headers + b"\r\n" + body
    slow = served.connect()
    slow.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    whole = served.ask(raw)
    for byte in range(len(raw)):
        slow.sendall(raw[byte : byte + 1])
        time.sleep(0.0005)
    in_pieces = read_all(slow)

    assert b"b'abc'" in whole
    assert whole == in_pieces


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "BREW"])
def test_any_method_reaches_the_application(served: Served, method: str) -> None:
    answer = served.ask(f"{method} / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())

    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"hello") == (method != "HEAD")


def test_a_head_request_gets_no_body_even_if_the_application_streams_one(served: Served) -> None:
    answer = served.ask(b"HEAD /chatty HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

    assert head_and_body(answer)[1] == b""


def test_an_old_client_is_served_and_closed(served: Served) -> None:
    answer = served.ask(b"GET /chatty HTTP/1.0\r\n\r\n")

    assert head_and_body(answer)[1] == b"piecepiecepiece"


# --- The size of a body ----------------------------------------------------------------------------------------------


def test_a_body_at_the_limit_is_read(serve: Serve) -> None:
    served = serve(SKILLGATE_MAX_BODY_BYTES="1000000")
    client = served.connect()

    client.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + b"a" * 1_000_000)

    assert read_until(client, b"\r\n\r\n1000000").startswith(b"HTTP/1.1 200")


def test_a_declared_body_over_the_limit_is_refused_before_it_is_sent(served: Served) -> None:
    answer = served.ask(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 62914560\r\n\r\n")

    assert_refused(answer, status=413, type="request_too_large")
    assert b"100 Continue" not in answer
    assert served.notes() == ["startup"]


@pytest.mark.parametrize("is_chunked", [True, False])
def test_a_sender_of_sixty_megabytes_reads_the_refusal(served: Served, is_chunked: bool) -> None:
    client = served.connect()
    framing = "Transfer-Encoding: chunked" if is_chunked else "Content-Length: 62914560"
    client.sendall(f"POST /v1/skills HTTP/1.1\r\nHost: x\r\nX-Request-ID: my-own-id\r\n{framing}\r\n\r\n".encode())
    piece = b"100000\r\n" + b"a" * MEBIBYTE + b"\r\n" if is_chunked else b"a" * MEBIBYTE
    before, began = served.memory(), time.monotonic()

    for _ in range(60):
        client.sendall(piece)
    answer = read_all(client)

    assert_refused(answer, status=413, type="request_too_large")
    assert b'"request_id":"my-own-id"' in answer
    assert time.monotonic() - began < 2
    assert served.memory() - before < 15 * MEBIBYTE
    assert served.notes() == ["startup"]


def test_some_paths_take_more(served: Served) -> None:
    client = served.connect()
    client.sendall(b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 8388608\r\n\r\n")
    client.sendall(b"a" * 8 * MEBIBYTE)
    over = served.ask(b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 33554433\r\n\r\n")

    assert read_all(client).endswith(b"8388608")
    assert_refused(over, status=413, type="request_too_large")


def test_an_absurd_length_is_too_large(served: Served) -> None:
    answer = served.ask(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n")

    assert_refused(answer, status=413, type="request_too_large")


# --- The form of a request -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        b"nonsense\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/3.0\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
        b"G(T / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nBad Name: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\x00b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-A: \x0b\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nContent-Length: 1x\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST /echo HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcdef",
        b"GET //[ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nUpgrade: websocket\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: \xff\r\n\r\n",
    ],
)
def test_a_malformed_request_is_refused_in_the_envelope(served: Served, raw: bytes) -> None:
    assert_refused(served.ask(raw), status=400)
    assert served.notes() == ["startup"]


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: 1\r\n" % number for number in range(101)) + b"\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: %s\r\n" % (number, b"a" * 1000) for number in range(20)) + b"\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 60_000_000,
    ],
    ids=["count", "line", "sum", "target", "endless"],
)
def test_headers_are_bounded(served: Served, raw: bytes) -> None:
    assert_refused(served.ask(raw), status=431)
    assert served.notes() == ["startup"]


@pytest.mark.parametrize(
    "begun", [b"", b"GET / HTTP/1.1\r\nHost", b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc"]
)
def test_a_request_that_stops_halfway_is_closed(serve: Serve, begun: bytes) -> None:
    served = serve(SKILLGATE_READ_SECONDS="0.5")
    began = time.monotonic()

    answer = served.ask(begun)

    assert time.monotonic() - began < 3
    if begun:
        assert_refused(answer, status=408)
    else:
        assert answer == b""


def test_headers_that_trickle_in_steadily_are_cut_off(serve: Serve) -> None:
    served = serve(SKILLGATE_READ_SECONDS="0.8")
    client = served.connect()
    began = time.monotonic()

    client.sendall(b"GET / HTTP/1.1\r\n")
    while not _is_refused(client) and time.monotonic() - began < 5:
        client.sendall(b"X-A: 1\r\n")

    assert time.monotonic() - began < 2
    assert served.notes() == ["startup"]


def _is_refused(client: socket.socket) -> bool:
    client.settimeout(0.1)
    try:
        return client.recv(65_536).startswith(b"HTTP/1.1 408")
    except TimeoutError:
        return False


# --- Applications that break -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/breaks", "/silent"])
def test_an_application_without_an_answer_is_a_500_at_once(served: Served, path: str) -> None:
    began = time.monotonic()

    answer = served.get(path)

    assert_refused(answer, status=500, type="api_error")
    assert time.monotonic() - began < 1.5


@pytest.mark.parametrize("path", ["/breaks-midway", "/gives-up"])
def test_a_stream_that_breaks_ends_its_connection_at_once(served: Served, path: str) -> None:
    client = served.connect()
    began = time.monotonic()

    client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    answer = read_all(client)

    assert time.monotonic() - began < 1.5
    assert answer.endswith(b"5\r\nfirst\r\n")  # and no last chunk, so that it cannot be taken for complete


def test_an_old_client_can_tell_a_broken_stream_too(served: Served) -> None:
    client = served.connect()
    client.sendall(b"GET /breaks-midway HTTP/1.0\r\n\r\n")

    with pytest.raises(ConnectionResetError):
        read_all(client)


def test_an_answer_shorter_than_it_said_never_looks_complete(served: Served) -> None:
    client = served.connect()
    client.sendall(b"GET /short HTTP/1.1\r\nHost: x\r\n\r\n")

    with pytest.raises(ConnectionResetError):
        read_all(client)
