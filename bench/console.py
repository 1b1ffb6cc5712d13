"""How long the console's pages take at scale: `python -m bench.console` (with PYTHONPATH=platform).

Asks every page of both sites in this process, on the database of DATABASE_URL, which `manage.py seed_scale`
has filled before, as the owner of the largest tenant and as an operator. `cpu` is what this process and the
database's own process for it worked, where that can be seen; it says on a busy machine what the wall says on a quiet one.
"""

import argparse
import importlib
import json
import os
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter, thread_time
from typing import Any

import django

PROMISED_MS = 200


@dataclass(frozen=True, slots=True)
class Figure:
    """What one page took."""

    page: str
    queries: int
    rows_ms: float
    cpu_ms: float
    median_ms: float
    slowest_ms: float


def main() -> None:
    """Measure and print; the exit code is 1 if a page takes longer than promised."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=7, help="how often each page is asked for, after once unmeasured")
    parser.add_argument("--page", help="only pages whose address contains this")
    parser.add_argument("--json", action="store_true", help="print figures as JSON lines")
    options = parser.parse_args()
    os.environ.setdefault("SKILLGATE_DEBUG", "1")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    visits = importlib.import_module("bench.console_visits")  # its imports need the settings
    with visits.visitors() as visitors:
        figures = [
            measure(client, page, times=options.times)
            for client, pages in visitors
            for page in pages
            if not options.page or options.page in page
        ]
    _print(figures, as_json=options.json)
    raise SystemExit(any(figure.median_ms > PROMISED_MS for figure in figures))


def measure(client: Any, page: str, *, times: int) -> Figure:
    """Ask for a page some times and sum up."""
    counted: Any = importlib.import_module("django.test.utils").CaptureQueriesContext
    connection: Any = importlib.import_module("django.db").connection
    _ask(client, page)
    with counted(connection) as queries:
        _ask(client, page)
        times_in = [float(query["time"]) for query in queries.captured_queries]  # the next request empties them
    worked = _worked(connection)
    took = [_ask(client, page) for _ in range(times)]
    worked = _worked(connection) - worked
    return Figure(
        page=page,
        queries=len(times_in),
        rows_ms=1000 * sum(times_in),
        cpu_ms=1000 * worked / times,
        median_ms=statistics.median(took),
        slowest_ms=max(took),
    )


def _worked(connection: Any) -> float:
    """Seconds of this thread and of the database's process for it, which keeps its connection meanwhile."""
    backend = Path(f"/proc/{connection.connection.info.backend_pid}/schedstat")
    try:
        nanoseconds = int(backend.read_text().split()[0])
    except OSError:
        nanoseconds = 0  # the database is elsewhere
    return thread_time() + nanoseconds / 1e9


def _ask(client: Any, page: str) -> float:
    began = perf_counter()
    answer = client.get(page)
    took = (perf_counter() - began) * 1000
    if answer.status_code not in {200, 302}:  # some only lead elsewhere when they are just looked at
        raise SystemExit(f"{page} answered {answer.status_code}")
    return took


def _print(figures: list[Figure], *, as_json: bool) -> None:
    if as_json:
        for figure in figures:
            print(json.dumps(asdict(figure)))
        return
    print(f"{'page':52}{'queries':>8}{'in them':>10}{'cpu':>8}{'median':>9}{'slowest':>9}  ms")
    for figure in sorted(figures, key=lambda figure: -figure.median_ms):
        late = "  late" if figure.median_ms > PROMISED_MS else ""
        print(
            f"{figure.page:52}{figure.queries:8}{figure.rows_ms:10.0f}{figure.cpu_ms:8.0f}{figure.median_ms:9.0f}{figure.slowest_ms:9.0f}{late}"
        )


if __name__ == "__main__":
    main()
