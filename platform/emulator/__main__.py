"""Runs the emulator: `python -m emulator --port 8100`."""

from __future__ import annotations

import argparse
import asyncio
import gc
import socket
import sys
from pathlib import Path

import uvicorn

from emulator.app import Emulator
from emulator.journal import Journal
from emulator.protocol import Connection
from emulator.state import Settings, State

_BACKLOG = 4_096
_GRACE_SECONDS = 3
_UNSEEN_OBJECTS = 200_000


class Server(uvicorn.Server):
    """Lets the calls that a shutdown cancels close their books before the process ends."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop serving, then wait for what was cancelled."""
        await super().shutdown(sockets)
        if self.server_state.tasks:
            await asyncio.wait(list(self.server_state.tasks), timeout=1)


def main() -> None:
    """Listen, say where, and serve until told to stop."""
    options = _options()
    settings = Settings(options.latency_ms, options.chunk_ms, max(1, options.chunk_words))
    state = State(settings=settings, journal=Journal(options.journal))
    config = uvicorn.Config(
        Emulator(state),
        http=Connection,
        ws="none",
        lifespan="off",
        proxy_headers=False,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    _tend_heap_seldom()
    with _listen(options.host, options.port) as listener:
        host, port = listener.getsockname()[:2]
        sys.stdout.write(f"listening on http://{host}:{port}\n")
        sys.stdout.flush()
        Server(config).run(sockets=[listener])


def _tend_heap_seldom() -> None:
    """Have Python look for garbage less often than a crowd of calls would have it: it stops everybody for as long.

    A thousand streams hold some 100,000 objects, and none of them is garbage before it has ended.
    """
    gc.set_threshold(_UNSEEN_OBJECTS)
    gc.collect()
    gc.freeze()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="emulator", description=__doc__)
    parser.add_argument("--port", type=int, default=8100, help="0 takes any free port")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--latency-ms", type=float, default=0.0, help="wait before each first byte")
    parser.add_argument("--chunk-ms", type=float, default=0.0, help="wait after each chunk of an answer")
    parser.add_argument("--chunk-words", type=int, default=4, help="words in a chunk")
    parser.add_argument("--journal", type=Path, help="file that keeps the journal")
    return parser.parse_args()


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(_BACKLOG)
    return listener


if __name__ == "__main__":
    main()
