"""Runs on a WebSocket, through real servers and a real client."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import httpx2
import pytest
import redis
from django.conf import settings
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from kit import clock
from tenants import keys
from tenants.models import ApiKey
from tests.live import Live, eventually
from tests.skills.listening import SUMMARIZE, listen, text_input

Said = dict[str, Any]


@contextmanager
def socket(live: Live, *, query: str = "", key: str | None = "own", **options: Any) -> Iterator[ClientConnection]:
    headers = {} if key is None else {"X-API-Key": live.key if key == "own" else key}
    url = f"{live.base_url.replace('http', 'ws', 1)}/v1/ws{query}"
    with connect(url, additional_headers=headers, max_size=None, **options) as connection:
        yield connection


def say(connection: ClientConnection, kind: str, **fields: Any) -> None:
    connection.send(json.dumps({"type": kind, **fields}))


def run(connection: ClientConnection, name: str, *marks: str, words: int = 12, chunk_ms: int = 0, **more: Any) -> None:
    say(connection, "run", id=name, skill="summarize", **text_input(*marks, words=words, chunk_ms=chunk_ms), **more)


def heard(connection: ClientConnection, *, until: int = 1, seconds: float = 15) -> list[Said]:
    """Everything up to so many ends of runs."""
    events: list[Said] = []
    while sum(event["event"] in ("done", "error") for event in events) < until:
        events.append(json.loads(connection.recv(timeout=seconds)))
    return events


def close_code(connection: ClientConnection, *, seconds: float = 5) -> int:
    """Reads on until the server closes."""
    with pytest.raises(ConnectionClosed) as closed:
        _read_on(connection, seconds=seconds)
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code


def _read_on(connection: ClientConnection, *, seconds: float) -> None:
    while True:
        connection.recv(timeout=seconds)


def test_a_run_says_the_same_as_its_server_sent_events(everywhere: Live) -> None:
    with socket(everywhere) as connection:
        run(connection, "mine")
        events = heard(connection)
    streamed = listen(everywhere, SUMMARIZE, text_input(words=12))

    assert [event["event"] for event in events] == streamed.names[:-1]
    assert {event["id"] for event in events} == {"mine"}
    run_id = events[0]["data"]["run_id"]
    assert [event["event_id"] for event in events] == [f"{run_id}-{number + 1}" for number in range(len(events))]
    assert events[-3]["data"]["output"] == streamed.data("output")["output"]
    first, _ = everywhere.closed_events(2)
    assert first["entry_point"] == "websocket"
    assert events[-2]["data"]["total_tokens"] == first["charged_tokens"]


def test_several_runs_go_on_at_once(everywhere: Live) -> None:
    with socket(everywhere) as connection:
        for number in range(10):
            run(connection, f"run {number}", words=20, chunk_ms=100)
        events = heard(connection, until=10)

    names = [event["event"] for event in events]
    assert names[: names.index("done")].count("run.started") == 10, "one waited for another"
    for number in range(10):
        mine = [event for event in events if event["id"] == f"run {number}"]
        assert (mine[0]["event"], mine[-1]["event"]) == ("run.started", "done")
    assert len(everywhere.closed_events(10)) == 10


def test_cancelling_one_run_ends_it_upstream_and_leaves_the_others(everywhere: Live) -> None:
    with socket(everywhere) as connection:
        run(connection, "long", words=400, chunk_ms=100)
        run(connection, "other", words=40, chunk_ms=100)
        while json.loads(connection.recv())["event"] != "text":
            pass
        say(connection, "cancel", id="long")
        cancelled_at = time.monotonic()
        events = heard(connection, until=1)
        took = time.monotonic() - cancelled_at
        events += heard(connection, until=1)

    ends = {event["id"]: event for event in events if event["event"] in ("done", "error")}
    assert took < 1
    assert ends["long"]["data"]["error"]["reason"] == "cancelled"
    assert ends["other"]["event"] == "done"
    usage = next(event for event in events if event["id"] == "long" and event["event"] == "usage")
    assert usage["data"]["is_estimated"] is True
    everywhere.closed_events(2)
    assert sorted(everywhere.outcomes()) == ["client_gone", "complete"]


def test_leaving_the_socket_leaves_all_its_runs(everywhere: Live) -> None:
    with socket(everywhere) as connection:
        for number in range(3):
            run(connection, f"run {number}", words=400, chunk_ms=100)
        for _ in range(9):
            connection.recv()

    events = everywhere.closed_events(3, within=3.0)
    eventually(lambda: everywhere.outcomes() == ["client_gone"] * 3, within=3.0)
    assert {event["state"] for event in events} == {"estimated"}
    assert everywhere.free_slots() == 1000


def test_a_connection_that_vanishes_leaves_its_runs_too(live: Live) -> None:
    with socket(live) as connection:
        run(connection, "mine", words=400, chunk_ms=100)
        while json.loads(connection.recv())["event"] != "text":
            pass
        connection.socket.close()

        live.closed_events(within=3.0)
    assert eventually(lambda: live.outcomes() == ["client_gone"])


def test_faults_and_refusals_come_as_error_events_with_the_runs_id(live: Live) -> None:
    poor = live.issue_key(monthly_token_budget=10)
    with socket(live) as connection:
        run(connection, "broken", "truncate")
        (failed,) = [event for event in heard(connection) if event["event"] == "error"]
        say(connection, "run", id="unfit", skill="summarize", input={})
        say(connection, "run", id="absent", skill="nothing", input={})
        say(connection, "cancel", id="never")
        refused = {event["id"]: event["data"]["error"]["type"] for event in heard(connection, until=3)}
    with socket(live, key=poor.secret) as connection:
        run(connection, "dear")
        (dear,) = heard(connection)

    assert failed["data"]["error"]["type"] == "api_error"
    assert refused == {
        "unfit": "invalid_request_error",
        "absent": "not_found_error",
        "never": "not_found_error",
    }
    assert dear["data"]["error"]["type"] == "billing_error", dear
    assert len(live.events()) == 1


@pytest.mark.parametrize(
    "message",
    [
        "no json",
        "[]",
        '{"type":"dance"}',
        '{"type":"run","id":"a"}',
        '{"type":"run","id":"a","skill":"summarize","input":{},"surprise":1}',
        '{"type":"ping","type":"ping"}',
        '{"type":"cancel","id":7}',
        b"\x00\x01",
    ],
)
def test_a_faulty_message_is_refused_and_the_socket_goes_on(live: Live, message: str | bytes) -> None:
    with socket(live) as connection:
        connection.send(message)
        (refused,) = heard(connection)
        say(connection, "ping", id="p")

        assert refused["data"]["error"]["type"] == "invalid_request_error"
        assert json.loads(connection.recv(timeout=5)) == {"id": "p", "event": "pong", "data": {}}


def test_an_id_is_used_for_one_run_at_a_time_and_a_socket_has_twenty(live: Live) -> None:
    with socket(live) as connection:
        for number in range(20):
            run(connection, f"run {number}", words=400, chunk_ms=300)
        run(connection, "run 0")
        run(connection, "one too many")
        refused = [event for event in heard(connection, until=2) if event["event"] == "error"]

    assert [(event["id"], event["data"]["error"]["type"]) for event in refused] == [
        ("run 0", "conflict_error"),
        ("one too many", "rate_limit_error"),
    ]


@pytest.mark.parametrize("key", [None, "sg_live_wrong"])
def test_without_a_good_key_the_socket_closes_with_4401(everywhere: Live, key: str | None) -> None:
    with socket(everywhere, key=key) as connection:
        (refused,) = heard(connection)
        assert refused["data"]["error"]["type"] == "authentication_error"
        assert close_code(connection) == 4401


def test_a_ticket_opens_one_socket_once(everywhere: Live) -> None:
    answer = httpx2.post(f"{everywhere.base_url}/v1/tickets", headers=everywhere.headers)
    ticket = answer.json()["ticket"]
    assert answer.status_code == 200
    assert answer.json()["expires_in"] == 60
    assert answer.headers["Cache-Control"] == "no-store"

    with socket(everywhere, key=None, query=f"?ticket={ticket}") as connection:
        run(connection, "mine")
        last = heard(connection)[-1]
        assert last["event"] == "done", last
    with socket(everywhere, key=None, query=f"?ticket={ticket}") as connection:
        assert close_code(connection) == 4401


def test_a_ticket_is_not_in_redis_in_clear_and_lapses(live: Live) -> None:
    ticket = httpx2.post(f"{live.base_url}/v1/tickets", headers=live.headers).json()["ticket"]

    with redis.Redis.from_url(settings.REDIS_URL) as connection:
        names = [name.decode() for name in connection.scan_iter("skillgate:ticket:*", count=1000)]
        lives = {connection.ttl(name) for name in names}

    assert names
    assert not any(ticket in name for name in names)
    assert all(0 < seconds <= 60 for seconds in lives)


def test_a_ticket_of_a_key_that_was_revoked_meanwhile_opens_nothing(live: Live) -> None:
    ticket = httpx2.post(f"{live.base_url}/v1/tickets", headers=live.headers).json()["ticket"]
    _revoke(live)

    with socket(live, key=None, query=f"?ticket={ticket}") as connection:
        assert close_code(connection) == 4401


def test_tickets_are_limited_for_each_key(live: Live) -> None:
    statuses: list[int] = []
    while 429 not in statuses and len(statuses) < 300:  # one more is allowed each second that this takes
        statuses.append(httpx2.post(f"{live.base_url}/v1/tickets", headers=live.headers).status_code)
    other = live.issue_key()
    sibling = httpx2.post(f"{live.base_url}/v1/tickets", headers={"X-API-Key": other.secret})

    assert statuses[:59] == [200] * 59
    assert statuses[-1] == 429
    assert sibling.status_code == 200


@pytest.mark.parametrize(
    ("origin", "is_welcome"),
    [
        ("http://localhost:3000", True),
        ("https://127.0.0.1", True),
        ("https://evil.example", False),
        ("null", False),
        ("https://localhost.evil.example", False),
        ("file://localhost", False),
    ],
)
def test_a_page_of_another_origin_opens_no_socket(live: Live, origin: str, is_welcome: bool) -> None:
    with socket(live, origin=origin) as connection:
        if is_welcome:
            say(connection, "ping")
            assert json.loads(connection.recv(timeout=5))["event"] == "pong"
        else:
            assert close_code(connection) == 4403


def test_a_key_without_the_scope_opens_no_socket(live: Live) -> None:
    reader = live.issue_key(allowed_verbs=["read"])

    with socket(live, key=reader.secret) as connection:
        assert close_code(connection) == 4403


def test_a_message_that_is_too_large_closes_with_4413(everywhere: Live) -> None:
    with socket(everywhere) as connection:
        connection.send(json.dumps({"type": "ping", "id": "x" * (1024 * 1024)}))

        assert close_code(connection) == 4413


def test_too_many_messages_a_second_close_with_4429(everywhere: Live) -> None:
    with socket(everywhere) as connection:
        with suppress(ConnectionClosed):
            for _ in range(300):
                say(connection, "ping")

        assert close_code(connection) == 4429


def test_a_key_has_twenty_sockets_over_all_processes(live: Live, live_uvicorn: Live) -> None:
    with ExitStack() as opened:
        for number in range(20):
            server = live if number % 2 else live_uvicorn
            connection = opened.enter_context(socket(server, key=live.key))
            say(connection, "ping")
            assert json.loads(connection.recv(timeout=5))["event"] == "pong"
        with socket(live) as one_too_many:
            (refused,) = heard(one_too_many)
            assert refused["data"]["error"]["limit"] == 20
            assert close_code(one_too_many) == 4429

    def is_free_again() -> bool:
        with socket(live) as connection:
            say(connection, "ping")
            return bool(json.loads(connection.recv(timeout=5))["event"] == "pong")

    assert eventually(is_free_again)


def test_revoking_a_key_ends_its_sockets_and_runs_within_a_second(everywhere: Live) -> None:
    with socket(everywhere) as connection, socket(everywhere) as idle:
        run(connection, "mine", words=400, chunk_ms=100)
        while json.loads(connection.recv())["event"] != "text":
            pass
        say(idle, "ping")
        idle.recv()
        _revoke(everywhere)
        revoked_at = time.monotonic()
        events = heard(connection)
        codes = [close_code(connection), close_code(idle)]
        took = time.monotonic() - revoked_at

    assert took < 1.0
    assert codes == [4401, 4401]
    assert (events[-1]["id"], events[-1]["data"]["error"]["type"]) == ("mine", "authentication_error")
    (event,) = everywhere.closed_events()
    assert event["state"] == "estimated"


def test_a_stream_begun_elsewhere_continues_on_a_socket(live: Live) -> None:
    streamed = listen(live, SUMMARIZE, {**text_input(words=20), "resumable": True})

    with socket(live) as connection:
        say(connection, "resume", id="again", run_id=streamed.run_id, last_event_id=f"{streamed.run_id}-2")
        events = heard(connection)

    assert [event["event_id"] for event in events] == [event.id for event in streamed.events[2:-1]]
    assert [event["data"] for event in events] == [json.loads(event.data) for event in streamed.events[2:-1]]


def test_an_idempotency_key_works_on_sockets_too(live: Live) -> None:
    with socket(live) as connection:
        run(connection, "first", idempotency_key="order-1")
        first = heard(connection)
    with socket(live) as connection:
        run(connection, "second", idempotency_key="order-1")
        second = heard(connection)
        run(connection, "third", words=13, idempotency_key="order-1")
        third = heard(connection)

    assert [event["data"] for event in second] == [event["data"] for event in first]
    assert third[0]["data"]["error"]["type"] == "invalid_request_error"
    assert len(live.closed_events()) == 1


def test_other_paths_have_no_socket(everywhere: Live) -> None:
    from websockets.exceptions import InvalidStatus

    url = everywhere.base_url.replace("http", "ws", 1)
    with pytest.raises(InvalidStatus) as refused, connect(f"{url}/v1/other", additional_headers=everywhere.headers):
        pass

    assert refused.value.response.status_code == 403


def _revoke(live: Live) -> None:
    key = live.do(lambda: ApiKey.objects.get(public_id=live.public_id))
    live.do(lambda: keys.revoke(key, reason="leaked", now=clock.now()))
