"""Calls side by side: `python -m bench.calls` (with PYTHONPATH=platform); `--peers` adds others' gateways.

In one run, in turn, on one process each, 0 ms upstream: the emulator directly, the platform on each of its servers
(authentication, limits, exact budgets, a durable event for every call), and peers without accounts: a plain FastAPI
service, LiteLLM, Portkey's gateway. A server lives only for its turn, since one that idles beside the measured one
costs it. Printed are calls a second at saturation and CPU a call, and what each adds to the emulator's own latency at a
steady rate.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench import load, peering, serving
from bench.serving import Bench, Server
from bench.targets import MESSAGES, RUN, Site, Target


@dataclass(frozen=True, slots=True)
class Sample:
    """What one turn showed: calls a second, CPU milliseconds a call, failures, and the latency at the steady rate."""

    per_second: float
    cpu_ms: float
    bad: int
    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class Figure:
    """Medians over the rounds: calls a second, CPU milliseconds a call, and milliseconds added at the steady rate."""

    name: str
    per_second: float
    cpu_ms: float
    added_p50: float
    added_p99: float
    bad: int


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--callers", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rate", type=float, default=50.0, help="calls a second at which latency is compared")
    parser.add_argument("--rounds", type=int, default=3, help="taking turns, so that noise hits all alike")
    parser.add_argument("--peers", action="store_true", help="install and measure the peers too")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = measure(options)
    if options.json:
        print(json.dumps([asdict(one) for one in figures]))
    else:
        print(serving.machine())
        _print(figures)


def measure(options: argparse.Namespace) -> list[Figure]:
    """Measure every target in turn, several times, and return the medians."""
    with serving.bench() as bench, tempfile.TemporaryDirectory() as folder:
        sites = [_direct(), *_ours(bench), *(peering.sites(bench, Path(folder)) if options.peers else ())]
        samples: dict[str, list[Sample]] = {target.name: [] for site in sites for target in site.targets}
        for _ in range(options.rounds):
            for site in sites:
                for target, sample in _turn(site, bench, options):
                    samples[target.name].append(sample)
    direct = next(iter(samples.values()))
    return [_figure(name, taken, direct) for name, taken in samples.items()]


def _direct() -> Site:
    return Site([Target("emulator, directly", "/v1/messages", MESSAGES, "emulator")])


def _ours(bench: Bench) -> Iterator[Site]:
    for name, argv in serving.SERVERS.items():
        targets = [
            Target(f"{name}, a skill", "/v1/skills/complete", RUN, bench.key),
            Target(f"{name}, /v1/messages", "/v1/messages", MESSAGES, bench.key),
        ]
        yield Site(targets, argv, "/health/live", bench.env)


def _turn(site: Site, bench: Bench, options: argparse.Namespace) -> Iterator[tuple[Target, Sample]]:
    with ExitStack() as stack:
        server = None
        if site.argv:
            running = serving.serving(site.argv, site.env, ready=site.ready, program=site.program)
            server = stack.enter_context(running)
        port = server.port if server else bench.emulator_port
        for target in site.targets:  # first connections, caches, code that is loaded late
            _load(target, port, seconds=1.0)
            yield target, _sample(target, port, server, options)


def _sample(target: Target, port: int, server: Server | None, options: argparse.Namespace) -> Sample:
    before = server.cpu if server else 0.0
    full = _load(target, port, seconds=options.seconds, callers=options.callers)
    used = (server.cpu - before) if server else 0.0
    steady = _load(target, port, seconds=options.seconds, rate=options.rate)
    cpu_ms = used * 1000 / max(1, full.good + full.bad)
    return Sample(full.per_second, cpu_ms, full.bad, p50=steady.p50, p99=steady.p99)


def _load(target: Target, port: int, **how: Any) -> load.Result:
    return load.measure(port, target.path, target.body, key=target.key, headers=target.headers, **how)


def _figure(name: str, taken: list[Sample], direct: list[Sample]) -> Figure:
    return Figure(
        name=name,
        per_second=median(one.per_second for one in taken),
        cpu_ms=median(one.cpu_ms for one in taken),
        added_p50=median(mine.p50 - base.p50 for mine, base in zip(taken, direct, strict=True)),
        added_p99=median(mine.p99 - base.p99 for mine, base in zip(taken, direct, strict=True)),
        bad=sum(one.bad for one in taken),
    )


def _print(figures: list[Figure]) -> None:
    base = next((one for one in figures if one.name.startswith("FastAPI")), figures[0])
    print(f"{'':28}{'calls/s':>9}{'to ' + base.name.split(',')[0][:10]:>14}{'CPU ms':>8}{'added p50':>11}{'p99 ms':>8}")
    for one in figures:
        ratio = one.per_second / base.per_second if base.per_second else 0.0
        failed = f"  {one.bad} failed" if one.bad else ""
        print(
            f"{one.name:28}{one.per_second:9.0f}{ratio:13.2f}x{one.cpu_ms:8.2f}"
            f"{one.added_p50:11.1f}{one.added_p99:8.1f}{failed}"
        )


if __name__ == "__main__":
    main()
