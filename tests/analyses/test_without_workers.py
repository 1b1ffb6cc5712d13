"""What goes on when workers are killed, messages are lost, or there are none: nothing is lost, no step is paid twice."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import redis
from django.conf import settings

from tests.analyses.book import book
from tests.analyses.conftest import ROOT, WORKER, Desk
from tests.live import eventually

pytestmark = pytest.mark.usefixtures("no_workers")
SLOWLY = "[[emulator:latency:0.4]] Be thorough."


def kill(process: Any) -> None:
    """Kill a worker with all its children, as a machine that loses power does."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def done_steps(desk: Desk, analysis_id: str) -> int:
    return int(desk.get(f"analyses/{analysis_id}")["progress"]["steps_done"])


def test_a_killed_workers_analysis_is_finished_by_another_and_no_step_is_paid_twice(
    desk: Desk, leaflet: str, start_celery: Callable[..., Any]
) -> None:
    with start_celery(*WORKER, "-n", "first@test", name="first") as first:
        submitted = desk.submit({"skill": leaflet, "text": book(pages=24), "instructions": SLOWLY})
        eventually(lambda: done_steps(desk, submitted["id"]) >= 4, within=90)
        kill(first)
    finished, at_kill = done_steps(desk, submitted["id"]), time.monotonic()

    with start_celery(*WORKER, "-n", "second@test", name="second"):
        eventually(lambda: done_steps(desk, submitted["id"]) > finished, within=90)
        assert time.monotonic() - at_kill < 90
        done = desk.wait(submitted["id"], within=120)
        a_minute_passes(desk)
        calls = eventually(lambda: all_closed(desk, submitted["id"]), within=60)
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


def a_minute_passes(desk: Desk) -> None:
    """Let the leases of what the dead worker had under way be over."""
    query = "UPDATE usage_event SET lease_until = now() WHERE tenant_id = %s AND state = 'open' RETURNING id"
    desk.live.rows(query, desk.live.tenant.pk)


def test_a_queue_that_is_emptied_is_filled_again(desk: Desk, start_celery: Callable[..., Any]) -> None:
    broker = broker_client()
    broker.delete("analyses")
    submitted = desk.submit({"skill": "digest", "text": book(pages=2)})
    eventually(lambda: broker.llen("analyses") >= 1, within=60)
    broker.delete("analyses")

    query = "UPDATE skills_analysis SET dispatched_at = now() - interval '1 minute' WHERE tenant_id = %s RETURNING id"
    assert len(desk.live.rows(query, desk.live.tenant.pk)) == 1
    with start_celery(*WORKER, "-n", "after@test", name="after"):
        done = desk.wait(submitted["id"], within=120)

    assert len(desk.live.events()) == done["progress"]["steps_done"]


def broker_client() -> redis.Redis:
    parts = urlsplit(settings.CELERY_BROKER_URL)
    database = parse_qs(parts.query)["virtual_host"][0]
    return redis.Redis(unix_socket_path=parts.path, db=int(database))


def test_the_command_shows_progress_and_saves_the_result(
    desk: Desk, live_environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "book.txt").write_text(book(pages=4), encoding="utf-8")
    env = {**os.environ, **live_environment, "SKILLGATE_API_KEY": desk.live.key, "PYTHONPATH": str(ROOT / "platform")}

    done = subprocess.run(
        [sys.executable, "manage.py", "analyze", str(tmp_path / "book.txt"), "--output", str(tmp_path / "out.json")],
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "tokens" in done.stderr
    result = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert result["citations"]
    assert all(one["quote"] in book(pages=4) for one in result["citations"])
    assert desk.journaled() == desk.paid()[0] > 0


def test_the_command_says_why_not(desk: Desk, live_environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("Tea at six.", encoding="utf-8")
    env = {**os.environ, **live_environment, "SKILLGATE_API_KEY": desk.live.key, "PYTHONPATH": str(ROOT / "platform")}

    done = subprocess.run(
        [sys.executable, "manage.py", "analyze", str(tmp_path / "book.txt"), "--skill", "summarize"],
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert "no analysis skill" in done.stderr
    assert desk.live.rows("SELECT id FROM skills_analysis WHERE tenant_id = %s", desk.live.tenant.pk) == []
