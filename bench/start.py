"""How soon a process serves and what it occupies: `python -m bench.start` (with PYTHONPATH=platform).

For each web server: seconds from its start to its first answer, memory then, and memory
after a thousand calls. An empty Python process is the yardstick.
"""

import argparse
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from statistics import median

import psutil

from bench import load, serving
from bench.serving import ROOT, Bench
from bench.targets import RUN


@dataclass(frozen=True, slots=True)
class Figure:
    """Medians: seconds to the first answer, MiB then, MiB after a thousand calls (0: takes no calls)."""

    name: str
    ready_after: float
    memory: float
    memory_used: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = measure(rounds=options.rounds)
    if options.json:
        print(json.dumps([asdict(one) for one in figures]))
        return
    print(serving.machine())
    for one in figures:
        used = f"  {one.memory_used:6.0f} MiB after 1,000 calls" if one.memory_used else ""
        print(f"{one.name:16} ready after {one.ready_after:5.2f} s  {one.memory:6.0f} MiB{used}")


def measure(*, rounds: int) -> list[Figure]:
    """Start each program several times and return the medians."""
    with serving.bench() as bench:
        seen = {name: [_web(name, bench) for _ in range(rounds)] for name in serving.SERVERS}
        seen["an empty Python"] = [_empty() for _ in range(rounds)]
    return [
        Figure(name, *(median(one[place] for one in figures) for place in range(3))) for name, figures in seen.items()
    ]


def _web(name: str, bench: Bench) -> tuple[float, float, float]:
    with serving.serving(serving.SERVERS[name], bench.env, ready="/health/live") as server:
        at_first = server.memory
        load.measure(server.port, "/v1/skills/complete", RUN, key=bench.key, seconds=60, calls=1_000)
        return server.ready_after, at_first, server.memory


def _empty() -> tuple[float, float, float]:
    began = time.monotonic()
    argv = [sys.executable, "-c", "print('ready', flush=True); input()"]
    with subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        took = time.monotonic() - began
        memory = psutil.Process(process.pid).memory_info().rss / 2**20
        process.communicate("\n")
    return took, memory, 0.0


if __name__ == "__main__":
    main()
