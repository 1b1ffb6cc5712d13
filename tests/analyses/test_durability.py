"""A worker that is killed, a queue that is emptied: nothing is lost, and no finished step is paid twice."""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
import redis

from tests.analyses.book import book
from tests.analyses.conftest import Desk
from tests.live import eventually

SLOWLY = "[[emulator:latency:0.4]] Be thorough."
WORKER = ("worker", "-Q", "analyses", "-c", "2")


def kill(process: Any) -> None:
    """Kill a worker with all its children, as a machine that loses power does."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def done_steps(desk: Desk, analysis_id: str) -> int:
    return int(desk.get(f"analyses/{analysis_id}")["progress"]["steps_done"])


@pytest.mark.usefixtures("beat")
def test_a_killed_workers_analysis_is_finished_by_another_and_no_step_is_paid_twice(
    desk: Desk, leaflet: str, start_celery: Callable[..., Any]
) -> None:
    with start_celery(*WORKER, "-n", "first@test", name="first") as first:
        submitted = desk.submit({"skill": leaflet, "text": book(pages=24), "instructions": SLOWLY})
        eventually(lambda: done_steps(desk, submitted["id"]) >= 4, within=30)
        kill(first)
    at_kill = time.monotonic()
    finished = done_steps(desk, submitted["id"])

    with start_celery(*WORKER, "-n", "second@test", name="second"):
        done = desk.wait(submitted["id"], within=100)

        assert done["progress"]["steps_done"] > finished
        assert time.monotonic() - at_kill < 100
        calls = eventually(lambda: all_closed(desk, submitted["id"]), within=120)
    completed = Counter((one["level"], one["position"]) for one in calls if one["outcome"] == "done")
    assert set(completed.values()) == {1}
    assert len(completed) == done["progress"]["steps_done"]
    assert len([one for one in calls if one["outcome"] == "lost"]) <= 4
    # A worker may die between holding the money and reaching the ledger: that call used nothing.
    assert len(desk.live.events()) == len([one for one in calls if one["used_tokens"]])
    assert all(event["state"] in ("settled", "estimated") for event in desk.live.events())
    assert desk.get(f"analyses/{submitted['id']}")["usage"]["tokens"] == desk.paid()[0] >= desk.journaled()


def all_closed(desk: Desk, analysis_id: str) -> list[dict[str, Any]]:
    calls = desk.calls(analysis_id)
    return calls if all(one["closed_at"] for one in calls) else []


@pytest.mark.usefixtures("beat")
def test_a_queue_that_is_emptied_is_filled_again(desk: Desk, start_celery: Callable[..., Any]) -> None:
    submitted = desk.submit({"skill": "digest", "text": book(pages=2)})
    broker = broker_client()
    eventually(lambda: broker.llen("analyses") >= 1, within=40)
    broker.delete("analyses")

    with start_celery(*WORKER, "-n", "after@test", name="after"):
        done = desk.wait(submitted["id"], within=90)

    assert len(desk.live.events()) == done["progress"]["steps_done"]


def broker_client() -> redis.Redis:
    from urllib.parse import parse_qs, urlsplit

    from django.conf import settings

    parts = urlsplit(settings.CELERY_BROKER_URL)
    database = parse_qs(parts.query)["virtual_host"][0]
    return redis.Redis(unix_socket_path=parts.path, db=int(database))


@pytest.mark.usefixtures("workers")
def test_passing_trouble_upstream_is_waited_out(desk: Desk, leaflet: str) -> None:
    for kind in ("http_529", "http_500", "drop"):
        fault = {"kind": kind, "count": 2, "marker": "a storm is coming"}
        assert httpx2.post(f"{desk.live.emulator_url}/_emulator/faults", json=fault).status_code < 300

    submitted = desk.submit({"skill": leaflet, "text": book(pages=4), "instructions": "Heed that a storm is coming."})
    done = desk.wait(submitted["id"], within=90)

    outcomes = Counter(one["outcome"] for one in desk.calls(submitted["id"]))
    assert outcomes["done"] == done["progress"]["steps_done"]
    assert outcomes["overloaded_error"] == 2
    assert outcomes["api_error"] == 4
    assert desk.paid()[0] == done["usage"]["tokens"]


@pytest.mark.usefixtures("workers")
def test_what_cannot_succeed_fails_with_its_reason_and_can_be_resumed(desk: Desk) -> None:
    fault = {"kind": "http_400", "count": 1, "marker": "an impossible wish"}
    httpx2.post(f"{desk.live.emulator_url}/_emulator/faults", json=fault)

    submitted = desk.submit({"skill": "digest", "text": book(pages=1), "instructions": "This is an impossible wish."})
    failed = desk.wait(submitted["id"], state="failed")
    assert failed["error"]["reason"] == "upstream_refused"
    assert desk.paid() == (0, 0)

    desk.post(f"analyses/{submitted['id']}/resume")
    assert desk.wait(submitted["id"])["error"] is None
