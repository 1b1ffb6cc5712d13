"""A load generator that costs next to nothing: callers on connections that stay open, in a process of their own.

`python -m bench.load` is what the benchmarks start; it prints one JSON object (see `Result`).
"""

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Result:
    """What callers saw: answers with 200, others, answers a second, and the latency's median and 99th percentile in ms."""

    good: int
    bad: int
    per_second: float
    p50: float
    p99: float


def measure(
    port: int,
    path: str,
    body: Any,
    *,
    key: str,
    callers: int = 32,
    seconds: float = 6.0,
    rate: float = 0.0,
    calls: int = 0,
    headers: Mapping[str, str] | None = None,
) -> Result:
    """Put a load on a server from another process, until `seconds` are over or `calls` were made.

    With a `rate`, that many calls a second at most.
    """
    argv = [sys.executable, "-m", "bench.load", "--port", str(port), "--path", path, "--key", key]
    argv += ["--callers", str(callers), "--seconds", str(seconds), "--rate", str(rate), "--calls", str(calls)]
    argv += ["--body", json.dumps(body), *(f"--header={name}: {value}" for name, value in (headers or {}).items())]
    done = subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, text=True)
    return Result(**json.loads(done.stdout))


class Caller(asyncio.Protocol):
    """One connection: it sends a request, reads the answer, notes how long that took."""

    def __init__(self, request: bytes, *, until: float, pause: float, most: int) -> None:
        self.request = request
        self.until = until
        self.pause = pause
        self.most = most
        self.took: list[float] = []
        self.bad = 0
        self.done = asyncio.get_running_loop().create_future()
        self._buffer = b""
        self._due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._due = time.monotonic()
        self._send()

    def data_received(self, data: bytes) -> None:
        """Take in a piece of an answer."""
        self._buffer += data
        if _is_whole(self._buffer):
            self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the caller."""
        if not self.done.done():
            self.bad += 1
            self.done.set_result(None)

    def _send(self) -> None:
        self._began = time.monotonic()
        self._transport.write(self.request)

    def _end(self) -> None:
        now = time.monotonic()
        if self._buffer.startswith(b"HTTP/1.1 200"):
            self.took.append(now - self._began)
        else:
            self.bad += 1
        self._buffer = b""
        self._due += self.pause
        if now >= self.until or len(self.took) + self.bad >= self.most:
            self.done.set_result(None)
            self._transport.close()
        elif self._due > now:
            asyncio.get_running_loop().call_later(self._due - now, self._send)
        else:
            self._send()


def _is_whole(answer: bytes) -> bool:
    head, found, body = answer.partition(b"\r\n\r\n")
    if not found:
        return False
    lower = head.lower()
    at = lower.find(b"content-length:")
    if at >= 0:
        return len(body) >= int(lower[at + 15 :].split(b"\r\n", 1)[0])
    return body.endswith(b"0\r\n\r\n")


async def _put(options: argparse.Namespace) -> Result:
    body = options.body.encode()
    head = f"POST {options.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: {options.key}\r\nAuthorization: Bearer {options.key}\r\n"
    head += "".join(f"{header}\r\n" for header in options.header)
    head += f"Content-Type: application/json\r\nanthropic-version: 2023-06-01\r\nContent-Length: {len(body)}\r\n\r\n"
    until = time.monotonic() + options.seconds
    pause = options.callers / options.rate if options.rate else 0.0
    most = -(-options.calls // options.callers) if options.calls else sys.maxsize
    loop = asyncio.get_running_loop()
    callers: list[Caller] = []
    began = time.monotonic()
    for number in range(options.callers):
        if options.rate:
            await asyncio.sleep(max(0.0, began + number / options.rate - time.monotonic()))
        _, caller = await loop.create_connection(
            lambda: Caller(head.encode() + body, until=until, pause=pause, most=most), "127.0.0.1", options.port
        )
        callers.append(caller)
    await asyncio.wait([caller.done for caller in callers], timeout=options.seconds + 60)
    took = sorted(one for caller in callers for one in caller.took)
    wall = time.monotonic() - began
    bad = sum(caller.bad for caller in callers)
    if not took:
        return Result(0, bad, 0.0, 0.0, 0.0)
    return Result(
        len(took), bad, len(took) / wall, median(took) * 1000, took[min(len(took) - 1, int(len(took) * 0.99))] * 1000
    )


def main() -> None:
    """Put one load on one server and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--body", required=True)
    parser.add_argument("--callers", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--calls", type=int, default=0)
    parser.add_argument("--header", action="append", default=[], help="one more, as `Name: value`")
    print(json.dumps(asdict(asyncio.run(_put(parser.parse_args())))))


if __name__ == "__main__":
    main()
