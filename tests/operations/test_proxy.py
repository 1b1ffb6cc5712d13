"""The proxy we ship, run for real: streams pass through it as they come, and leaving it leaves the call."""

import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from tests import nginx
from tests.live import Live, Program, eventually
from tests.skills.listening import SUMMARIZE, listen_until, opened, text_input

pytestmark = pytest.mark.skipif(nginx.NGINX is None, reason="nginx is not installed")


@pytest.fixture
def proxied(live: Live, tmp_path: Path) -> Iterator[Live]:
    """The live server as its clients see it through the proxy."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    running = nginx.start(tmp_path, servers=[live.base_url.removeprefix("http://")], port=port)
    url = f"http://127.0.0.1:{port}"
    try:
        eventually(lambda: _answers(url))
        yield replace(live, server=Program(running, url.removeprefix("http://")))
    finally:
        running.terminate()
        running.wait(timeout=10)


def _answers(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/health/live", timeout=2).status_code == 200
    except httpx2.HTTPError:
        return False


def test_a_stream_comes_through_piece_by_piece(proxied: Live) -> None:
    with opened(proxied, SUMMARIZE, text_input(words=60, chunk_ms=100)) as (heard, pieces):
        began = time.monotonic()
        for _ in pieces:
            pass

    total = heard.times[-1] - began
    late = [later - earlier for earlier, later in zip(heard.times, heard.times[1:], strict=False)]
    assert heard.status == 200
    assert heard.names[-1] == "message"
    assert total > 1
    assert heard.times[0] - began < total / 3
    assert max(late) < total / 2
    assert len(heard.times) >= 10


def test_leaving_the_proxy_ends_the_call(proxied: Live) -> None:
    listen_until(proxied, SUMMARIZE, text_input(words=400, chunk_ms=150), lambda heard: "text" in heard.names)

    (event,) = proxied.closed_events(within=5)

    assert event["state"] == "estimated"
    assert eventually(lambda: proxied.outcomes() == ["client_gone"])


def test_an_answer_in_json_is_the_servers_own(proxied: Live) -> None:
    answer = proxied.post("/v1/skills/summarize", {"input": {"text": "Hello there."}})

    assert answer.status_code == 200
    assert answer.headers["request-id"].startswith("req_")
    assert answer.json()["usage"]["output_tokens"] > 0


def test_a_socket_is_upgraded(proxied: Live) -> None:
    host, _, port = proxied.base_url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(
            f"GET /v1/ws HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            f"X-API-Key: {proxied.key}\r\n\r\n".encode()
        )
        said = connection.recv(4096)

    assert said.startswith(b"HTTP/1.1 101")


def test_a_body_that_is_too_large_is_refused_in_json_before_the_server(proxied: Live) -> None:
    answer = proxied.post("/v1/skills/summarize", {"input": {"text": "x" * (4 * 1024 * 1024 + 1)}})

    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["error"]["type"] == "request_too_large"
    assert proxied.events() == []


@pytest.mark.parametrize("path", ["/metrics", "/health/ready"])
def test_what_is_for_operators_stays_inside(proxied: Live, path: str) -> None:
    answer = httpx2.get(f"{proxied.base_url}{path}", timeout=10)

    assert answer.status_code == 404
    assert answer.json()["error"]["type"] == "not_found_error"


def test_without_a_server_the_answer_is_still_json(tmp_path: Path, free_port: int) -> None:
    running = nginx.start(tmp_path, servers=["127.0.0.1:1"], port=free_port)
    try:
        url = f"http://127.0.0.1:{free_port}/v1/skills"
        found = eventually(lambda: [one for one in (_any_answer(url),) if one is not None])
    finally:
        running.terminate()
        running.wait(timeout=10)

    (answer,) = found
    assert answer.status_code == 502
    assert answer.json()["error"]["type"] == "api_error"
    assert answer.headers["retry-after"] == "5"


def _any_answer(url: str) -> httpx2.Response | None:
    try:
        return httpx2.get(url, timeout=5)
    except httpx2.HTTPError:
        return None
