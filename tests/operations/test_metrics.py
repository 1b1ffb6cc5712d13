"""Who may scrape, and that what is counted is what happened."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
from prometheus_client.parser import text_string_to_metric_families

from tests.live import ROOT, Live, eventually
from tests.operations.conftest import METRICS_TOKEN, Production

TOKEN = {"Authorization": f"Bearer {METRICS_TOKEN}"}
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(url: str, **headers: str) -> Samples:
    answer = httpx2.get(f"{url}/metrics", headers=headers, timeout=10)
    assert answer.status_code == 200, answer.text
    return parsed(answer.text)


def parsed(text: str) -> Samples:
    families = text_string_to_metric_families(text)
    return {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples}


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples.get((name, frozenset(labels.items())), 0.0)


def test_with_a_token_only_who_has_it_may_scrape(production: Production) -> None:
    url = f"{production.live.base_url}/metrics"

    without = httpx2.get(url, timeout=10)
    wrong = httpx2.get(url, headers={"Authorization": "Bearer wrong"}, timeout=10)
    right = httpx2.get(url, headers=TOKEN, timeout=10)

    assert (without.status_code, wrong.status_code, right.status_code) == (401, 401, 200)
    assert "skillgate_" not in without.text + wrong.text
    assert "skillgate_requests_total" in right.text


def test_a_scrape_needs_no_name_of_ours_as_its_host(production: Production) -> None:
    answer = httpx2.get(f"{production.live.base_url}/metrics", headers={**TOKEN, "Host": "10.1.2.3:8000"}, timeout=10)

    assert answer.status_code == 200


def test_without_a_token_only_this_machine_may_scrape(live: Live) -> None:
    url = f"{live.base_url}/metrics"

    here = httpx2.get(url, timeout=10)
    proxied = [
        httpx2.get(url, headers={name: "198.51.100.7"}, timeout=10)
        for name in ("X-Forwarded-For", "X-Real-IP", "Forwarded", "Via")
    ]

    assert here.status_code == 200
    assert [answer.status_code for answer in proxied] == [403, 403, 403, 403]


def test_a_call_is_counted_once_with_its_tokens_and_cost(production: Production) -> None:
    url = production.live.base_url
    before = scrape(url, **TOKEN)

    answer = production.live.post("/v1/skills/summarize", {"input": {"text": "Hello there."}}).json()

    after = eventually(lambda: counted_after(url, before))
    model, usage = answer["model"], answer["usage"]

    def more(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    assert more("skillgate_requests_total", route="v1/skills/<str:name>", method="POST", status="200") == 1
    assert more("skillgate_request_seconds_count", route="v1/skills/<str:name>") == 1
    assert more("skillgate_upstream_calls_total", model=model, entry_point="rest", state="settled", error="") == 1
    assert more("skillgate_upstream_first_output_seconds_count", model=model) == 1
    assert more("skillgate_tokens_total", **{"model": model, "class": "input"}) == usage["input_tokens"]
    assert more("skillgate_tokens_total", **{"model": model, "class": "output"}) == usage["output_tokens"]
    assert more("skillgate_cost_micros_total", model=model) == usage["cost_micros"]
    assert more("skillgate_batch_items_count", lane="ledger") >= 2
    assert value(after, "skillgate_upstream_calls_open") == 0
    assert value(after, "skillgate_ledger_open_events") == 0
    assert value(after, "skillgate_postgres_up") == 1
    assert value(after, "skillgate_event_loop_lag_seconds_count") > 0


def counted_after(url: str, before: Samples) -> Samples:
    """The answer is out a moment before its request is counted."""
    name, labels = "skillgate_requests_total", {"route": "v1/skills/<str:name>", "method": "POST", "status": "200"}
    now = scrape(url, **TOKEN)
    return now if value(now, name, **labels) > value(before, name, **labels) else {}


def test_a_refusal_is_counted_by_its_reason(production: Production) -> None:
    slow = production.live.issue_key(requests_per_minute=1)
    headers = {"X-API-Key": slow.secret}
    body = {"input": {"text": "Hi."}}
    before = scrape(production.live.base_url, **TOKEN)

    statuses = [production.live.post("/v1/skills/summarize", body, headers=headers).status_code for _ in range(3)]

    after = scrape(production.live.base_url, **TOKEN)
    refused = sum(count for (name, _), count in after.items() if name == "skillgate_refused_total")
    refused -= sum(count for (name, _), count in before.items() if name == "skillgate_refused_total")
    reasons = {dict(labels)["reason"] for name, labels in after if name == "skillgate_refused_total"}
    assert statuses.count(429) == refused >= 1
    assert "requests_per_minute" in reasons


def test_labels_stay_few_whatever_strangers_ask_for(production: Production) -> None:
    for number in range(20):
        httpx2.request(f"MADE{number}", f"{production.live.base_url}/v1/invented/{number}", timeout=10)
        httpx2.get(f"{production.live.base_url}/invented/{number}", timeout=10)

    samples = scrape(production.live.base_url, **TOKEN)

    routes = {dict(labels)["route"] for name, labels in samples if name == "skillgate_requests_total"}
    methods = {dict(labels)["method"] for name, labels in samples if name == "skillgate_requests_total"}
    every_value = {said for _, labels in samples for _, said in labels}
    assert not [route for route in routes if "invented" in route]
    assert not [method for method in methods if method.startswith("MADE")]
    assert production.live.public_id not in every_value
    assert production.live.tenant.slug not in every_value


def test_processes_that_share_a_folder_are_counted_as_one(tmp_path: Path) -> None:
    program = "from kit.access import REQUESTS; REQUESTS.labels('a', 'GET', '200').inc({n})"
    env = _environment(tmp_path)
    for amount in (2, 3):
        subprocess.run([sys.executable, "-c", _set_up(program.format(n=amount))], env=env, cwd=ROOT, check=True)

    reading = "from console import metrics; from prometheus_client import generate_latest; print(generate_latest(metrics.registry()).decode())"
    said = subprocess.run(
        [sys.executable, "-c", _set_up(reading)], env=env, cwd=ROOT, check=True, capture_output=True, text=True
    )

    assert value(parsed(said.stdout), "skillgate_requests_total", route="a", method="GET", status="200") == 5


def _set_up(program: str) -> str:
    return f"import django; django.setup(); {program}"


def _environment(folder: Path, **more: str) -> dict[str, str]:
    path = os.pathsep.join([str(ROOT / "platform"), str(ROOT)])
    shared = {"PROMETHEUS_MULTIPROC_DIR": str(folder), "DJANGO_SETTINGS_MODULE": "config.settings", "PYTHONPATH": path}
    return {**os.environ, **shared, **more}


def test_a_worker_serves_the_counts_of_its_task_processes(
    tmp_path: Path, live_environment: dict[str, str], free_port: int
) -> None:
    stale = tmp_path / "gauge_livesum_999999999.db"
    stale.write_bytes(b"")
    env = _environment(tmp_path, **live_environment, SKILLGATE_WORKER_METRICS_ADDRESS=f"127.0.0.1:{free_port}")
    command = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "config.celery",
        "worker",
        "--concurrency",
        "1",
        "-Q",
        "operations",
    ]
    log = (tmp_path / "log").open("wb")
    worker = subprocess.Popen([*command, "-l", "warning"], env=env, cwd=ROOT, stdout=log, stderr=log)
    try:
        _send("usage.sweep", env=env)
        found = eventually(lambda: _swept(free_port), within=30)
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait(timeout=20)
        log.close()

    assert found["files"]
    assert not stale.exists()


def _send(task: str, *, env: dict[str, str]) -> None:
    program = f"from config.celery import app; app.send_task({task!r}, queue='operations')"
    subprocess.run([sys.executable, "-c", _set_up(program)], env=env, cwd=ROOT, check=True)


def _swept(port: int) -> dict[str, Any]:
    """The sweep runs in a child of the worker: that its counter is there at all says that it came across."""
    try:
        text = httpx2.get(f"http://127.0.0.1:{port}/metrics", timeout=5).text
    except httpx2.HTTPError:
        return {}
    samples = parsed(text)
    return {"files": True} if ("skillgate_ledger_swept_total", frozenset()) in samples else {}
