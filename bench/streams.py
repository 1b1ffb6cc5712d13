"""Many streams opened at once: `python -m bench.streams` (with PYTHONPATH=platform).

Each stream is 20 chunks over 5 s. The same load goes to the emulator directly, to `/v1/messages` and to a
skill's stream, in turn, on one web process; printed are wall time, time to the first text, the web process's
CPU and memory, and their ratios to the emulator. Everything runs on databases of its own.
"""

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil

from embedded import databases
from embedded.temporary import Temporary

ROOT = Path(__file__).resolve().parents[1]
PACE = "[[emulator:words:80]] [[emulator:chunk_ms:250]]"
MODEL = "claude-haiku-4-5"
SERVERS = {
    "daphne": ["-m", "server", "--port", "0"],
    "uvicorn": ["-m", "uvicorn", "config.asgi:application", "--port", "0", "--no-access-log"],
}


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
    """One run: seconds but for `complete` (streams) and `memory` (MiB)."""

    complete: int
    wall: float
    first_text: float
    cpu: float
    memory: float


def main() -> None:
    """This function will measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, nargs="*", default=[100, 1000])
    parser.add_argument("--server", choices=SERVERS, default="daphne")
    options = parser.parse_args()
    with Temporary(ROOT) as temporary:
        temporary.start_databases()
        temporary.start_emulator()
        databases.create_if_absent({**os.environ, **temporary.env}["DATABASE_URL"])
        environment = {**os.environ, **temporary.env, "SKILLGATE_DEBUG": "1", "PYTHONPATH": str(ROOT / "platform")}
        key = _prepare(environment)
        emulator = int(environment["SKILLGATE_EMULATOR_URL"].rpartition(":")[2])
        with _serving(SERVERS[options.server], environment) as (web, port):
            print(f"one {options.server} process, {psutil.cpu_count()} cores, Python {sys.version.split()[0]}")
            for count in options.streams:
                _compare(count, key=key, web=web, port=port, emulator=emulator)


def _prepare(environment: dict[str, str]) -> str:
    subprocess.run(
        [sys.executable, "manage.py", "prepare_demo"], cwd=ROOT, env=environment, check=True, capture_output=True
    )
    issue = ["manage.py", "issue_key", "--tenant", "demo", "--name", "bench", "--requests-per-minute", "1000000"]
    limits = [
        "--tokens-per-minute",
        "1000000000",
        "--concurrent-calls",
        "10000",
        "--monthly-token-budget",
        "9000000",
    ]
    done = subprocess.run(
        [sys.executable, *issue, *limits], cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@contextmanager
def _serving(command: list[str], environment: dict[str, str]) -> Iterator[tuple[psutil.Process, int]]:
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("w") as written:
            process = subprocess.Popen([sys.executable, *command], cwd=ROOT, env=environment, stderr=written)
        try:
            yield psutil.Process(process.pid), _announced(log)
        finally:
            process.kill()
            process.wait()


def _announced(log: Path) -> int:
    give_up = time.monotonic() + 30
    while time.monotonic() < give_up:
        if found := re.search(r"(?:Listening on |http://)127\.0\.0\.1:(\d+)", log.read_text()):
            return int(found[1])
        time.sleep(0.1)
    raise SystemExit(f"the server did not start: {log.read_text()}")


def _compare(count: int, *, key: str, web: psutil.Process, port: int, emulator: int) -> None:
    messages = {
        "model": MODEL,
        "max_tokens": 200,
        "stream": True,
        "messages": [{"role": "user", "content": f"Go on. {PACE}"}],
    }
    run = {"input": {"prompt": f"Go on. {PACE}"}, "max_tokens": 200}
    relayed = (json.dumps(messages).encode(), b"text_delta", b"message_stop")
    targets = [
        Target("the emulator", emulator, "/v1/messages", *relayed),
        Target("/v1/messages", port, "/v1/messages", *relayed),
        Target(
            "a skill's stream", port, "/v1/skills/complete/stream", json.dumps(run).encode(), b"event: text", b"[DONE]"
        ),
    ]
    base: Figure | None = None
    for target in targets:
        figure = asyncio.run(_measure(target, count, key=key, web=web))
        base = base or figure
        print(
            f"{count:>5} streams  {target.name:<17} complete {figure.complete:>5}  wall {figure.wall:6.2f} s"
            f" ({figure.wall / base.wall:4.2f}x)  first text {figure.first_text:6.3f} s  web CPU {figure.cpu:6.2f} s"
            f" ({figure.cpu / count * 1000:5.2f} ms a stream)  web memory {figure.memory:6.1f} MiB"
        )


async def _measure(target: Target, count: int, *, key: str, web: psutil.Process) -> Figure:
    used = sum(web.cpu_times()[:2])
    peak = asyncio.create_task(_peak(web))
    began = time.monotonic()
    firsts = await asyncio.gather(*(_stream(target, key) for _ in range(count)))
    wall = time.monotonic() - began
    peak.cancel()
    seen = [first for first in firsts if first is not None]
    cpu = sum(web.cpu_times()[:2]) - used
    return Figure(len(seen), wall, median(seen) if seen else 0.0, cpu, max(_memory))


_memory: list[float] = [0.0]


async def _peak(web: psutil.Process) -> None:
    _memory[:] = [0.0]
    while True:
        _memory.append(web.memory_info().rss / 2**20)
        await asyncio.sleep(0.2)


async def _stream(target: Target, key: str) -> float | None:
    """Read one stream to its end; seconds to its first text, or None when it did not complete."""
    began = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
    head = f"POST {target.path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
    head += f"Content-Type: application/json\r\nConnection: close\r\nContent-Length: {len(target.body)}\r\n\r\n"
    writer.write(head.encode() + target.body)
    first, tail = None, b""
    while chunk := await reader.read(65_536):
        tail = (tail + chunk)[-4_096:]
        if first is None and target.first in tail:
            first = time.monotonic() - began
    writer.close()
    return first if target.last in tail else None


if __name__ == "__main__":
    main()
