"""Calls side by side: `python -m bench.calls` (with PYTHONPATH=platform); `--peers` adds LiteLLM and a plain service.

In one run, in turn, on one process each, 0 ms upstream: the emulator directly, the platform on each of its servers
(authentication, limits, exact budgets, a durable event for every call), and peers without accounts. Printed are
calls a second at saturation and CPU a call, and what each adds to the emulator's own latency at a steady rate.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench import load, serving
from bench.serving import Bench, Server

MESSAGES = {"model": "claude-haiku-4-5", "max_tokens": 20, "messages": [{"role": "user", "content": "Say a word."}]}
RUN = {"input": {"prompt": "Say a word."}, "max_tokens": 20}


@dataclass(frozen=True, slots=True)
class Target:
    """Who is called, where and with what."""

    name: str
    port: int
    path: str
    body: dict[str, Any]
    key: str
    server: Server | None


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
    """This function will measure and print."""
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
    """This function will measure every target in turn, several times, and return the medians."""
    with serving.bench() as bench, ExitStack() as stack:
        targets = [*_ours(bench, stack), *(_peers(bench, stack) if options.peers else ())]
        for target in targets:  # connections, caches, code that is loaded late
            load.measure(target.port, target.path, target.body, key=target.key, seconds=1.0)
        saturated: dict[str, list[tuple[float, float, int]]] = {target.name: [] for target in targets}
        steady: dict[str, list[tuple[float, float]]] = {target.name: [] for target in targets}
        for _ in range(options.rounds):
            for target in targets:
                saturated[target.name].append(_saturated(target, options))
            for target in targets:
                steady[target.name].append(_steady(target, options))
    return [_figure(target.name, saturated[target.name], steady[target.name], steady) for target in targets]


def _ours(bench: Bench, stack: ExitStack) -> Iterator[Target]:
    yield Target("emulator, directly", bench.emulator_port, "/v1/messages", MESSAGES, "emulator", None)
    for name, argv in serving.SERVERS.items():
        server = stack.enter_context(serving.serving(argv, bench.env, ready="/health/live"))
        yield Target(f"{name}, a skill", server.port, "/v1/skills/complete", RUN, bench.key, server)
        yield Target(f"{name}, /v1/messages", server.port, "/v1/messages", MESSAGES, bench.key, server)


def _peers(bench: Bench, stack: ExitStack) -> Iterator[Target]:
    python = serving.peers()
    plain = ["-m", "uvicorn", "plain:app", "--app-dir", "bench/peers", "--port", "{port}", "--no-access-log"]
    server = stack.enter_context(serving.serving(plain, bench.env, ready="/docs", python=python))
    yield Target("FastAPI + SDK + slowapi", server.port, "/v1/messages", MESSAGES, "none", server)
    with _folder(stack) as folder:
        config = serving.litellm_config(folder, bench.emulator_port)
    litellm = ["-m", "litellm.proxy.proxy_cli", "--config", config, "--port", "{port}", "--host", "127.0.0.1"]
    env = {name: value for name, value in bench.env.items() if name != "DATABASE_URL"}  # its own accounts stay off
    server = stack.enter_context(serving.serving(litellm, env, ready="/health/liveliness", python=python))
    yield Target("LiteLLM", server.port, "/v1/messages", MESSAGES, "sk-bench", server)


@contextmanager
def _folder(stack: ExitStack) -> Iterator[Path]:
    yield Path(stack.enter_context(tempfile.TemporaryDirectory()))


def _saturated(target: Target, options: argparse.Namespace) -> tuple[float, float, int]:
    before = target.server.cpu if target.server else 0.0
    seen = load.measure(
        target.port, target.path, target.body, key=target.key, callers=options.callers, seconds=options.seconds
    )
    used = (target.server.cpu - before) if target.server else 0.0
    return seen.per_second, used * 1000 / max(1, seen.good + seen.bad), seen.bad


def _steady(target: Target, options: argparse.Namespace) -> tuple[float, float]:
    seen = load.measure(
        target.port, target.path, target.body, key=target.key, seconds=options.seconds, rate=options.rate
    )
    return seen.p50, seen.p99


def _figure(
    name: str,
    saturated: list[tuple[float, float, int]],
    steady: list[tuple[float, float]],
    all_steady: dict[str, list[tuple[float, float]]],
) -> Figure:
    direct = next(iter(all_steady.values()))
    return Figure(
        name=name,
        per_second=median(one[0] for one in saturated),
        cpu_ms=median(one[1] for one in saturated),
        added_p50=median(mine[0] - base[0] for mine, base in zip(steady, direct, strict=True)),
        added_p99=median(mine[1] - base[1] for mine, base in zip(steady, direct, strict=True)),
        bad=sum(one[2] for one in saturated),
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
