"""Servers in processes of their own, and raw sockets to speak to them."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Served:
    """One running server."""

    process: subprocess.Popen[str]
    port: int
    journal: Path
    sockets: list[socket.socket] = field(default_factory=list)

    def connect(self, *, receive_buffer: int | None = None) -> socket.socket:
        client = socket.socket()
        if receive_buffer is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.settimeout(10)
        client.connect(("127.0.0.1", self.port))
        self.sockets.append(client)
        return client

    def ask(self, raw: bytes) -> bytes:
        """Sends bytes and returns everything until the server closes."""
        client = self.connect()
        client.sendall(raw)
        return read_all(client)

    def get(self, path: str, *, headers: str = "") -> bytes:
        return self.ask(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n".encode("latin1"))

    def memory(self) -> int:
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def notes(self) -> list[str]:
        return self.journal.read_text().split("\n")[:-1]

    def wait_for_note(self, line: str, *, seconds: float) -> float:
        began = time.monotonic()
        while line not in self.notes():
            assert time.monotonic() - began < seconds, f"{line!r} not in {self.notes()}"
            time.sleep(0.02)
        return time.monotonic() - began

    def hang_up(self) -> None:
        for client in self.sockets:
            client.close()
        self.sockets.clear()

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)


def read_all(client: socket.socket) -> bytes:
    received = b""
    while chunk := client.recv(65_536):
        received += chunk
    return received


def read_until(client: socket.socket, ending: bytes) -> bytes:
    received = b""
    while not received.endswith(ending):
        chunk = client.recv(1)
        assert chunk, received
        received += chunk
    return received


Serve = Callable[..., Served]


@contextmanager
def serving(folder: Path) -> Iterator[Serve]:
    """Give a way to start servers, and end what is left of them."""
    running: list[Served] = []

    def start(**environment: str) -> Served:
        journal = folder / f"journal-{len(running)}"
        journal.touch()
        path = os.pathsep.join([str(ROOT), str(ROOT / "platform")])
        process = subprocess.Popen(
            [sys.executable, "-m", "server", "--port", "0", "--app", "tests.server.applications:application"],
            env={**os.environ, "PYTHONPATH": path, "JOURNAL": str(journal), **environment},
            cwd=folder,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.fullmatch(r"Listening on 127\.0\.0\.1:(\d+)\n", line)
        assert found, line + process.stderr.read()
        running.append(Served(process, int(found[1]), journal))
        return running[-1]

    yield start
    for served in running:
        served.hang_up()
        served.process.kill()
        served.process.communicate()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts servers of the test's own."""
    with serving(tmp_path) as serve:
        yield serve


@pytest.fixture
def served(serve: Serve) -> Served:
    return serve()
