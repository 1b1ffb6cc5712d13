"""Without Redis streams go on: not resumable, but executed once, and ended with their key all the same."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from kit import clock
from tenants import keys
from tenants.models import ApiKey
from tests.live import Live, running
from tests.skills.listening import SUMMARIZE, listen, opened, text_input
from tests.tenants.valkey import Valkey


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    server = Valkey()
    server.start()
    yield server
    server.close()


@pytest.fixture
def alone(live: Live, live_environment: dict[str, str], valkey: Valkey, tmp_path: Path) -> Iterator[Live]:
    """A server with a Redis of its own, which the test may take away."""
    env = {**live_environment, "REDIS_URL": valkey.url}
    with running("server", "--port", "0", log=tmp_path / "log", env=env) as server:
        yield Live(server, live.emulator_url, live.tenant, live.key, live.public_id, live._blocker)


def test_a_stream_that_cannot_be_kept_says_so_and_works(alone: Live, valkey: Valkey) -> None:
    valkey.kill()

    heard = listen(alone, SUMMARIZE, {**text_input(), "resumable": True})
    later = httpx2.get(f"{alone.base_url}/v1/streams/{heard.run_id}", headers=alone.headers, timeout=10)

    assert heard.data("run.started")["resumable"] is False
    assert heard.names[-2:] == ["done", "message"]
    assert later.status_code == 503
    assert len(alone.closed_events()) == 1


def test_a_stream_whose_redis_dies_in_the_middle_goes_on(alone: Live, valkey: Valkey) -> None:
    body = {**text_input(words=40, chunk_ms=150), "resumable": True}
    with opened(alone, SUMMARIZE, body) as (heard, pieces):
        while "text" not in heard.names:
            next(pieces)
        valkey.kill()
        for _ in pieces:
            pass

    assert heard.names[-2:] == ["done", "message"]
    assert heard.data("output")["output"] == heard.text
    assert [event["state"] for event in alone.closed_events()] == ["settled"]


def test_a_key_makes_a_stream_once_without_redis_too(alone: Live, valkey: Valkey) -> None:
    valkey.kill()

    first = listen(alone, SUMMARIZE, text_input(), Idempotency_Key="order-1")
    time.sleep(0.3)
    second = listen(alone, SUMMARIZE, text_input(), Idempotency_Key="order-1")

    assert second.raw == first.raw
    assert second.headers["Idempotent-Replayed"] == "true"
    assert len(alone.closed_events()) == 1


def test_sockets_run_skills_and_tickets_say_that_they_cannot_be_had(alone: Live, valkey: Valkey) -> None:
    valkey.kill()

    ticket = httpx2.post(f"{alone.base_url}/v1/tickets", headers=alone.headers, timeout=10)
    url = f"{alone.base_url.replace('http', 'ws', 1)}/v1/ws"
    events: list[dict[str, Any]] = []
    with connect(url, additional_headers=alone.headers) as connection:
        connection.send(json.dumps({"type": "run", "id": "r", "skill": "summarize", **text_input(), "resumable": True}))
        while not events or events[-1]["event"] not in ("done", "error"):
            events.append(json.loads(connection.recv(timeout=15)))
    with connect(f"{url}?ticket=sgt_{'x' * 43}") as refused:
        refusal = json.loads(refused.recv(timeout=15))
        with pytest.raises(ConnectionClosed) as closed:
            refused.recv(timeout=15)

    assert ticket.status_code == 503
    assert events[0]["data"]["resumable"] is False
    assert [events[0]["event"], events[-1]["event"]] == ["run.started", "done"]
    assert refusal["data"]["error"]["type"] == "api_error"
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1013  # the key would do: it is the ticket that cannot be checked
    assert [event["state"] for event in alone.closed_events()] == ["settled"]


def test_a_revoked_key_ends_its_streams_within_fifteen_seconds(alone: Live, valkey: Valkey) -> None:
    valkey.kill()
    with opened(alone, SUMMARIZE, text_input(words=400, chunk_ms=300)) as (heard, pieces):
        while "text" not in heard.names:
            next(pieces)
        key = alone.do(lambda: ApiKey.objects.get(public_id=alone.public_id))
        alone.do(lambda: keys.revoke(key, reason="leaked", now=clock.now()))
        revoked_at = time.monotonic()
        for _ in pieces:
            pass

    assert time.monotonic() - revoked_at < 15
    assert heard.data("error")["error"]["type"] == "authentication_error"
    assert len(alone.closed_events()) == 1
