"""How many analyses so many workers get through: `python -m bench.analyses` (with PYTHONPATH=platform).

Small analyses of several tenants wait in the queue; then workers of one process each, as on machines of their own,
are started and take them by the broker alone. Once with a Claude that answers at once, which shows what the platform's
own work costs, and once with one that takes its time, as the real one does, which shows whether workers add up.
"""

import argparse
import http.client
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import psycopg
from psycopg.rows import dict_row

from bench import serving
from bench.serving import ROOT, Bench

TENANTS = 4
_CELERY = (
    "-m",
    "celery",
    "-A",
    "config.celery",
    "worker",
    "-l",
    "error",
    "-c",
    "1",
    "--without-gossip",
    "--without-mingle",
)
_PATIENCE_SECONDS = 600.0
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Figure:
    """What so many workers did: analyses and calls a second, and the CPU seconds that each analysis took of them."""

    latency: float
    workers: int
    analyses_per_second: float
    calls_per_second: float
    cpu_per_analysis: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2, 3, 4])
    parser.add_argument("--latency", type=float, nargs="*", default=[0.0, 2.0], help="seconds that Claude takes")
    parser.add_argument("--analyses", type=int, default=16, help="for each figure")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    about = serving.machine()
    figures = measure(workers=options.workers, latencies=options.latency, count=options.analyses)
    if options.json:
        print(json.dumps([asdict(one) for one in figures]))
        return
    print(about)
    alone = {one.latency: one.analyses_per_second for one in figures if one.workers == options.workers[0]}
    for one in figures:
        print(
            f"Claude takes {one.latency:3.1f} s  {one.workers} workers  {one.analyses_per_second:6.2f} analyses/s  "
            f"{one.calls_per_second:6.2f} calls/s  {one.analyses_per_second / alone[one.latency]:5.2f} of the first  "
            f"{one.cpu_per_analysis * 1000:5.0f} ms CPU each"
        )


def measure(*, workers: Sequence[int], latencies: Sequence[float], count: int) -> list[Figure]:
    """Have every number of workers do as many analyses, for every latency."""
    with serving.bench() as bench:
        bench.env["CELERY_BROKER_URL"] = f"redis+socket://{urlsplit(bench.env['REDIS_URL']).path}?virtual_host=3"
        keys = [serving.key(bench.env, tenant=f"bench-{number}") for number in range(TENANTS)]
        with serving.serving(serving.SERVERS["daphne"], bench.env, ready="/health/live") as server:
            return [
                _figure(bench, server.port, keys, workers=number, latency=latency, count=count)
                for latency in latencies
                for number in workers
            ]


def _figure(bench: Bench, port: int, keys: Sequence[str], *, workers: int, latency: float, count: int) -> Figure:
    since = _rows(bench, "SELECT now() AS at")[0]["at"]
    for number in range(count):
        _submit(port, keys[number % len(keys)], latency=latency)
    with _crew(bench, workers) as processes:
        _wait(bench, count, since=since)
        cpu = sum(_cpu(process) for process in processes)
    done = _rows(bench, _DONE, since=since)[0]
    seconds = float(done["seconds"])
    return Figure(latency, workers, count / seconds, int(done["calls"]) / seconds, cpu / count)


def _submit(port: int, key: str, *, latency: float) -> None:
    text = (ROOT / "examples" / "alice.txt").read_text(encoding="utf-8")[:6_000]
    slowly = f"[[emulator:latency:{latency}]] Be brief."
    body = json.dumps({"skill": "digest", "text": text, "instructions": slowly})
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", "/v1/analyses", body, {"X-API-Key": key, "Content-Type": "application/json"})
    answer = connection.getresponse()
    if answer.status != http.HTTPStatus.ACCEPTED:
        raise SystemExit(answer.read().decode())
    connection.close()


@contextmanager
def _crew(bench: Bench, workers: int) -> Iterator[list[psutil.Process]]:
    """The workers, and the timetable in one more that takes no analyses."""
    with ExitStack() as stack:
        schedule = str(Path(stack.enter_context(tempfile.TemporaryDirectory())) / "schedule")
        stack.enter_context(_worker(bench, "-n", "timetable@bench", "-Q", "default", "-B", "-s", schedule))
        yield [stack.enter_context(_worker(bench, "-n", f"w{n}@bench", "-Q", "analyses")) for n in range(workers)]


@contextmanager
def _worker(bench: Bench, *arguments: str) -> Iterator[psutil.Process]:
    command = [sys.executable, *_CELERY, *arguments]
    process = psutil.Popen(command, cwd=ROOT, env=bench.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        for one in [*process.children(recursive=True), process]:
            one.kill()
        process.wait()


def _cpu(process: psutil.Process) -> float:
    return sum(sum(one.cpu_times()[:2]) for one in [process, *process.children(recursive=True)])


def _wait(bench: Bench, count: int, *, since: Any) -> None:
    give_up = time.monotonic() + _PATIENCE_SECONDS
    while (done := _rows(bench, _DONE, since=since)[0]["done"]) < count:
        if time.monotonic() > give_up:
            raise SystemExit(f"{done} of {count} analyses were done within {_PATIENCE_SECONDS:.0f} s")
        time.sleep(0.2)


def _rows(bench: Bench, query: str, **given: Any) -> list[Row]:
    url = bench.env["DATABASE_URL"].replace("postgres://", "postgresql://")
    with psycopg.connect(url, row_factory=dict_row) as connection:
        return connection.execute(query.encode(), given).fetchall()


# From the first that was taken up, so that the start of the workers does not count.
_DONE = """
SELECT count(*) FILTER (WHERE state = 'succeeded') AS done, sum(steps_done) AS calls,
    extract(epoch FROM max(ended_at) - min(started_at)) AS seconds
FROM skills_analysis WHERE created_at > %(since)s
"""


if __name__ == "__main__":
    main()
