"""Reserve and settle as fast as they go: `python -m bench.ledger` (with PYTHONPATH=platform).

Callers in a closed loop reserve and settle at once, on one key, on 100 keys of one tenant and on
100 keys of 100 tenants; one statement per call against batches. Uses DATABASE_URL if it is set, else
an embedded PostgreSQL of its own, and always a database of its own.
"""

import argparse
import importlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import django

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
    with Temporary(ROOT) as temporary:
        if "DATABASE_URL" not in os.environ:
            temporary.start_databases()
        os.environ.update(temporary.env, SKILLGATE_DEBUG="1")
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
        django.setup()
        load = importlib.import_module("bench.ledger_load")  # its imports need the settings
        figures = [
            Figure(**figure)
            for figure in load.measure(callers=options.callers, seconds=options.seconds, rounds=options.rounds)
        ]
    if options.json:
        for figure in figures:
            print(json.dumps(asdict(figure)))
    else:
        _print(figures)


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


if __name__ == "__main__":
    main()
