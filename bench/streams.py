"""Many streams opened at once: `python -m bench.streams` (with PYTHONPATH=platform).

Each stream is 20 chunks over 5 s. The same load goes to the emulator directly, to `/v1/messages` and to a
skill's stream, in turn, on one web process; printed are wall time, time to the first text, the web process's
CPU and memory, their ratios to the emulator, and the memory of the web process, PostgreSQL and Valkey together, in
which what processes share counts once. Everything runs on databases of its own.
"""

import argparse
import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import cast

import psutil

from bench import serving
from bench.serving import Bench, Server
from server import reactor

PACE = "[[emulator:words:80]] [[emulator:chunk_ms:250]]"
MODEL = "claude-haiku-4-5"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a stream is asked for, and what its end looks like."""

    name: str
    port: int
    path: str
    body: bytes
    first: bytes
    last: bytes


@dataclass(frozen=True, slots=True)
class Figure:
    """One run: seconds but for `complete` (streams), and `memory` of the web process and `in_all` (MiB)."""

    streams: int
    name: str
    complete: int
    wall: float
    first_text: float
    cpu: float
    memory: float
    in_all: float
    failures: dict[str, int]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, nargs="*", default=[100, 1000])
    parser.add_argument("--server", choices=serving.SERVERS, default="daphne")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    about = f"{options.server}, one process; {serving.machine()}"
    figures = measure(options.streams, server=options.server)
    if options.json:
        print(json.dumps([asdict(one) for one in figures]))
        return
    print(about)
    _print(figures)


def measure(counts: Sequence[int], *, server: str) -> list[Figure]:
    """Open so many streams, on each target in turn."""
    with (
        serving.bench() as bench,
        serving.serving(serving.SERVERS[server], bench.env, ready="/health/live") as running,
    ):
        targets = _targets(bench, running)
        with asyncio.Runner(loop_factory=reactor.new_loop) as runner:
            return [
                runner.run(_measure(target, count, bench=bench, web=running.process))
                for count in counts
                for target in targets
            ]


def _targets(bench: Bench, server: Server) -> list[Target]:
    messages = {
        "model": MODEL,
        "max_tokens": 200,
        "stream": True,
        "messages": [{"role": "user", "content": f"Go on. {PACE}"}],
    }
    run = {"input": {"prompt": f"Go on. {PACE}"}, "max_tokens": 200}
    relayed = (json.dumps(messages).encode(), b"text_delta", b"message_stop")
    streamed = (json.dumps(run).encode(), b"event: text", b"[DONE]")
    return [
        Target("the emulator", bench.emulator_port, "/v1/messages", *relayed),
        Target("/v1/messages", server.port, "/v1/messages", *relayed),
        Target("a skill's stream", server.port, "/v1/skills/complete/stream", *streamed),
    ]


def _print(figures: Sequence[Figure]) -> None:
    base = {one.streams: one for one in figures if one.name == "the emulator"}
    for figure in figures:
        print(
            f"{figure.streams:>5} streams  {figure.name:<17} complete {figure.complete:>5}  wall {figure.wall:6.2f} s"
            f" ({figure.wall / base[figure.streams].wall:4.2f}x)  first text {figure.first_text:6.3f} s"
            f"  web CPU {figure.cpu:6.2f} s ({figure.cpu / figure.streams * 1000:5.2f} ms a stream)  web memory {figure.memory:6.1f} MiB"
            f"  in all {figure.in_all:6.1f} MiB"
        )
        for failure, times in figure.failures.items():
            print(f"{times:>5} times    {failure}")


async def _measure(target: Target, count: int, *, bench: Bench, web: psutil.Process) -> Figure:
    used = sum(web.cpu_times()[:2])
    watched = Watched(web, bench.stores)
    watching = asyncio.create_task(watched.watch())
    began = time.monotonic()
    ends = await asyncio.gather(*(_stream(target, bench.key) for _ in range(count)))
    wall = time.monotonic() - began
    watching.cancel()
    seen = [end for end in ends if isinstance(end, float)]
    failures = Counter(end for end in ends if isinstance(end, str))
    cpu = sum(web.cpu_times()[:2]) - used
    return Figure(
        streams=count,
        name=target.name,
        complete=len(seen),
        wall=wall,
        first_text=median(seen) if seen else 0.0,
        cpu=cpu,
        memory=watched.memory,
        in_all=watched.in_all,
        failures=failures,
    )


@dataclass(slots=True)
class Watched:
    """The most memory that the web process and it with its databases took, in MiB."""

    web: psutil.Process
    stores: tuple[int, ...]
    memory: float = 0.0
    in_all: float = 0.0

    async def watch(self) -> None:
        """Look until cancelled; seldom, and not while streams open: adding up takes time from what is measured."""
        while True:
            await asyncio.sleep(1.0)
            self.memory = max(self.memory, self.web.memory_info().rss / 2**20)
            self.in_all = max(self.in_all, await asyncio.to_thread(serving.occupied, self.web.pid, *self.stores))


class Stream(asyncio.Protocol):
    """One stream, from its request to its end; `first` is when its first text was read, on the loop's clock."""

    def __init__(self, target: Target, key: str) -> None:
        head = f"POST {target.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
        head += f"Content-Type: application/json\r\nConnection: close\r\nContent-Length: {len(target.body)}\r\n\r\n"
        self._request = head.encode() + target.body
        self._target = target
        self._loop = asyncio.get_running_loop()
        self.tail = b""
        self.first: float | None = None
        self.is_over = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for it."""
        cast("asyncio.Transport", transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        """Take in a piece of it."""
        self.tail = (self.tail + data)[-4_096:]
        if self.first is None and self._target.first in self.tail:
            self.first = self._loop.time()

    def connection_lost(self, exc: Exception | None) -> None:
        """Be done."""
        self.is_over.set_result(None)


async def _stream(target: Target, key: str) -> float | str:
    """Read one stream to its end; seconds to its first text, or how it failed when it did not complete."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    _, stream = await loop.create_connection(lambda: Stream(target, key), "127.0.0.1", target.port)
    await stream.is_over
    if stream.first is None or target.last not in stream.tail:
        return _failure(stream.tail)
    return stream.first - began


def _failure(tail: bytes) -> str:
    """The error's message without its numbers, which are another in each."""
    said = re.search(rb'"message":\s*"([^"]*)', tail)
    if said is None:
        return f"ended with {tail[-60:]!r}" if tail else "ended without a word"
    return re.sub(r"\d+", "N", said[1].decode())


if __name__ == "__main__":
    main()
