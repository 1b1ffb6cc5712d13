"""How reports, exports and rollups grow with the events: `python -m bench.reports` (with PYTHONPATH=platform).

For each size it makes a database of its own on an embedded PostgreSQL, seeds a year of 200 tenants, and measures the
month of the largest tenant, all tenants at a glance, the largest tenant's year as CSV, and a minute of 500 events per
second on their way into the rollups. Pages are asked for as a browser does, templates included.
"""

import argparse
import importlib
import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import django

from embedded.temporary import Temporary

ROOT = Path(__file__).resolve().parents[1]
SIZES = (1_000_000, 5_000_000, 20_000_000)


@dataclass(frozen=True, slots=True)
class Figure:
    """What one size measured; pages in milliseconds, median and slowest of some."""

    events: int
    seed_seconds: float
    month_ms: float
    month_slowest_ms: float
    platform_ms: float
    platform_slowest_ms: float
    csv_rows: int
    csv_rows_per_second: float
    csv_memory_mb: float
    rolled_events: int
    roll_seconds: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, nargs="*", default=list(SIZES))
    parser.add_argument("--json", action="store_true", help="print figures as JSON lines")
    options = parser.parse_args()
    os.environ.pop("DATABASE_URL", None)
    for events in options.events:
        figure = _measure(events)
        if options.json:
            print(json.dumps(asdict(figure)), flush=True)
        else:
            _print(figure, is_first=events == options.events[0])


def _measure(events: int) -> Figure:
    """Each size in a process of its own: what is measured is also its memory."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        with Temporary(ROOT) as temporary:
            temporary.start_databases()
            os.environ.update(temporary.env, SKILLGATE_DEBUG="1", DJANGO_SETTINGS_MODULE="config.settings")
            django.setup()
            load = importlib.import_module("bench.reports_load")  # its imports need the settings
            figure = load.measure(events)
        with os.fdopen(writing, "w") as out:
            out.write(json.dumps(figure))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        text = told.read()
    os.waitpid(child, 0)
    if not text:
        raise SystemExit(f"the measurement of {events} events failed")
    return Figure(**json.loads(text))


def _print(figure: Figure, *, is_first: bool) -> None:
    row = asdict(figure)
    if is_first:
        free = shutil.disk_usage(tempfile.gettempdir()).free / 1e9
        print(f"free disk {free:.0f} GB; a million events take about half a gigabyte", flush=True)
        print("  ".join(f"{name:>{max(12, len(name))}}" for name in row), flush=True)
    print("  ".join(f"{value:>{max(12, len(name))},}" for name, value in row.items()), flush=True)


if __name__ == "__main__":
    main()
