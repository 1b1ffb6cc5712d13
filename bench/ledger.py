"""Reserve and settle as fast as they go: `python -m bench.ledger` (with PYTHONPATH=platform).

Callers in a closed loop reserve and settle at once, on one key, on 100 keys of one tenant and on
100 keys of 100 tenants; one statement per call against batches. Then as many callers with one key call a
skill over HTTP, through the whole server, as a tenant of its own. Uses DATABASE_URL if it is set, else a PostgreSQL
of its own that keeps what it commits; verbs alone are measured in a database of their own on either.
"""

import argparse
import importlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import django

from bench import load, serving
from bench.targets import RUN
from embedded.temporary import Temporary

ROOT = Path(__file__).resolve().parents[1]
CALLERS = (1, 20, 50, 200)


@dataclass(frozen=True, slots=True)
class Figure:
    """What one run measured; a call is one reserve and one settle, latencies are of each verb in milliseconds."""

    keys: str
    callers: int
    lane: str
    calls_per_second: float
    reserve_p50: float
    reserve_p99: float
    settle_p50: float
    settle_p99: float


@dataclass(frozen=True, slots=True)
class Served:
    """What callers with one key saw over HTTP, in milliseconds; Claude answers at once."""

    served_callers: int
    calls_per_second: float
    failed: int
    p50: float
    p99: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="length of each run")
    parser.add_argument(
        "--rounds", type=int, default=3, help="runs of each kind, taking turns so that noise hits all alike"
    )
    parser.add_argument("--callers", type=int, nargs="*", default=list(CALLERS))
    parser.add_argument("--json", action="store_true", help="print figures as JSON lines")
    options = parser.parse_args()
    figures = _measure(options)
    served = _serve(options.callers, seconds=max(2.0, options.seconds))
    if options.json:
        for row in (*map(asdict, figures), *map(asdict, served)):
            print(json.dumps(row))
    else:
        print(serving.machine())
        _print(figures)
        _print_served(served)


def _measure(options: argparse.Namespace) -> list[Figure]:
    with Temporary(ROOT, is_durable=True) as temporary, _environment():
        if "DATABASE_URL" not in os.environ:
            temporary.start_databases()
        os.environ.update(temporary.env, SKILLGATE_DEBUG="1")
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
        django.setup()
        ledger_load = importlib.import_module("bench.ledger_load")  # its imports need the settings
        figures = ledger_load.measure(callers=options.callers, seconds=options.seconds, rounds=options.rounds)
        return [Figure(**figure) for figure in figures]


@contextmanager
def _environment() -> Iterator[None]:
    before = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _serve(callers: list[int], *, seconds: float) -> list[Served]:
    """Let callers with one key call a skill, in turn as many as are said."""
    with (
        serving.bench() as bench,
        serving.serving(serving.SERVERS["daphne"], bench.env, ready="/health/live") as server,
    ):

        def put(number: int, lasting: float) -> load.Result:
            path = "/v1/skills/complete"
            return load.measure(server.port, path, RUN, key=bench.key, callers=number, seconds=lasting)

        put(20, 1.0)  # first connections, caches, code that is loaded late
        seen = [(number, put(number, seconds)) for number in callers]
    return [
        Served(number, round(one.per_second, 1), one.bad, round(one.p50, 2), round(one.p99, 2)) for number, one in seen
    ]


def _print(figures: list[Figure]) -> None:
    by_run = {(figure.keys, figure.callers, figure.lane): figure for figure in figures}
    print(
        f"{'keys':24}{'callers':>8}{'single/s':>10}{'batched/s':>11}{'ratio':>7}"
        f"{'reserve p50':>13}{'p99':>8}{'settle p50':>12}{'p99 ms':>8}"
    )
    for (keys, callers, lane), figure in by_run.items():
        if lane == "batched":
            single = by_run[keys, callers, "single"].calls_per_second
            print(
                f"{keys:24}{callers:8}{single:10.0f}{figure.calls_per_second:11.0f}"
                f"{figure.calls_per_second / single:7.1f}{figure.reserve_p50:13.1f}{figure.reserve_p99:8.1f}"
                f"{figure.settle_p50:12.1f}{figure.settle_p99:8.1f}"
            )
    for callers in sorted({figure.callers for figure in figures}):
        hot = by_run["one key", callers, "batched"].calls_per_second
        spread = by_run["100 keys, 100 tenants", callers, "batched"].calls_per_second
        print(f"{callers:3} callers: one key has {hot / spread:.2f} of the throughput of 100 keys of 100 tenants")


def _print_served(served: list[Served]) -> None:
    for one in served:
        failed = f", {one.failed} failed" if one.failed else ""
        print(
            f"{one.served_callers:3} callers over HTTP, one key: {one.calls_per_second:5.0f} calls/s,"
            f" p50 {one.p50:6.1f} ms, p99 {one.p99:6.1f} ms{failed}"
        )


if __name__ == "__main__":
    main()
