"""A web process killed loses nothing; one that is asked to stop finishes what it has begun."""

import asyncio
import json
import signal
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from embedded import waiting
from tests.failure import books, callers
from tests.failure.callers import Told
from tests.failure.stack import GRACE_SECONDS, Stack

SWEPT_WITHIN_SECONDS = 90.0
REFUSES_WITHIN_SECONDS = 1.0
EXITS_WITHIN_SECONDS = 30.0  # of which calls get 25 unless told otherwise
# A machine that has much other work keeps the clients, the calls and the exit waiting.
MARGIN_SECONDS = 8.0
CALLS = 6


@dataclass(frozen=True, slots=True)
class Stopped:
    """How a web process that was asked to stop took leave."""

    exit_code: int | None
    refused_after: float
    exited_after: float
    told: list[Told]


def test_in_flight_calls_end_well_when_a_web_process_is_asked_to_stop(stack: Stack, key: str) -> None:
    _until_up(stack)

    stopped = asyncio.run(_stop_under_way(stack, key, prompt=callers.lasting(5)))

    assert [told.status for told in stopped.told] == [200] * CALLS
    assert [told.trouble for told in stopped.told] == [""] * CALLS
    assert all('"error"' not in told.text for told in stopped.told)
    assert stopped.refused_after < REFUSES_WITHIN_SECONDS
    assert stopped.exited_after < 5 + MARGIN_SECONDS
    assert stopped.exit_code == 0
    assert books.faults(stack) == []


def test_a_socket_is_let_go_at_once_when_idle_and_else_after_its_run(stack: Stack, key: str) -> None:
    web, url = stack.webs[1], f"{stack.urls[1].replace('http', 'ws')}/v1/ws"
    _until_up(stack)
    process = web._process
    assert process is not None
    with (
        connect(url, additional_headers={"X-API-Key": key}) as idle,
        connect(url, additional_headers={"X-API-Key": key}) as busy,
    ):
        wish = {"type": "run", "id": "one", "skill": "complete", "input": {"prompt": callers.lasting(3)}}
        busy.send(json.dumps({**wish, "max_tokens": 2000}))
        assert json.loads(busy.recv(timeout=10))["event"] == "run.started"

        process.send_signal(signal.SIGTERM)

        assert _heard(idle) == (1012, [])
        assert process.poll() is None
        busy.send(json.dumps({**wish, "id": "two"}))
        code, events = _heard(busy)
    refused = next(event for event in events if event["id"] == "two")
    assert code == 1012
    assert [event["event"] for event in events if event["id"] == "one"][-1] == "done"
    assert (refused["event"], refused["data"]["error"]["type"]) == ("error", "api_error")
    assert process.wait(EXITS_WITHIN_SECONDS) == 0
    web.start()
    assert books.faults(stack) == []


def _heard(connection: ClientConnection) -> tuple[int, list[dict[str, Any]]]:
    """Everything up to the close, and its code."""
    events: list[dict[str, Any]] = []
    try:
        while True:
            events.append(json.loads(connection.recv(timeout=15)))
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else 0, events


def test_calls_that_take_too_long_are_told_and_closed_before_the_exit(stack: Stack, key: str) -> None:
    stopped = asyncio.run(_stop_under_way(stack, key, prompt=callers.lasting(60)))

    assert stopped.refused_after < REFUSES_WITHIN_SECONDS
    assert GRACE_SECONDS < stopped.exited_after < GRACE_SECONDS + EXITS_WITHIN_SECONDS - 25 + MARGIN_SECONDS
    assert stopped.exit_code == 0
    assert [(told.trouble, told.text[-200:]) for told in stopped.told if told.trouble] == []
    assert all(told.status == 503 or '"error"' in told.text for told in stopped.told)
    events = stack.sql("SELECT state, error_type FROM usage_event ORDER BY opened_at DESC LIMIT %s", [CALLS])
    assert {(event["state"], event["error_type"]) for event in events} == {("estimated", "cancelled")}
    assert books.faults(stack) == []


def test_calls_of_a_killed_web_process_are_closed_by_the_sweep(stack: Stack) -> None:
    def left() -> list[dict[str, datetime]]:
        return stack.sql("SELECT id FROM usage_event WHERE id::text = ANY(%s) AND state = 'open'", [stack.abandoned])

    assert waiting.until(lambda: not left(), seconds=SWEPT_WITHIN_SECONDS, every=0.5)
    events = stack.sql(
        "SELECT state, error_type, closed_at - opened_at AS age FROM usage_event WHERE id::text = ANY(%s)",
        [stack.abandoned],
    )
    assert [(event["state"], event["error_type"]) for event in events] == [("estimated", "lease_lapsed")] * len(events)
    assert len(events) == len(stack.abandoned) > 0
    assert max(event["age"].total_seconds() for event in events) < SWEPT_WITHIN_SECONDS
    assert books.faults(stack) == []


async def _stop_under_way(stack: Stack, key: str, *, prompt: str) -> Stopped:
    """Ask the second web process to stop while calls of every kind run on it, and start it again."""
    web, url = stack.webs[1], stack.urls[1]
    kinds = (callers.run, callers.stream, callers.relay)
    calls = [asyncio.create_task(kind(url, key, prompt, max_tokens=2000)) for kind in kinds for _ in range(CALLS // 3)]
    await asyncio.sleep(1.5)
    assert not any(call.done() for call in calls)
    process, began = web._process, time.monotonic()
    assert process is not None
    process.send_signal(signal.SIGTERM)
    refused_after = await _until_refused(url, began=began)
    told = list(await asyncio.gather(*calls))
    code = await asyncio.to_thread(process.wait, EXITS_WITHIN_SECONDS + 5)
    exited_after = time.monotonic() - began
    await asyncio.to_thread(web.start)
    return Stopped(code, refused_after, exited_after, told)


async def _until_refused(url: str, *, began: float) -> float:
    port = int(url.rpartition(":")[2])
    while time.monotonic() - began < 5:
        try:
            async with asyncio.timeout(0.2):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
        except (ConnectionRefusedError, TimeoutError):  # who knocks while the door is being closed is not answered
            break
        writer.close()
        await asyncio.sleep(0.05)
    return time.monotonic() - began


def _until_up(stack: Stack) -> None:
    assert waiting.until(lambda: all(web.is_ready() for web in stack.webs), seconds=20)
