"""A running emulator, and the real SDK pointed at it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import pytest

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Running:
    """An emulator process and its address."""

    url: str
    process: subprocess.Popen[bytes]
    http: httpx2.Client = field(default_factory=lambda: httpx2.Client(verify=False))

    def get(self, path: str) -> Any:
        """Return the JSON of one of the emulator's own endpoints."""
        return self.http.get(f"{self.url}/_emulator/{path}").json()

    def post(self, endpoint: str, /, **body: Any) -> httpx2.Response:
        """Post JSON to one of the emulator's own endpoints."""
        return self.http.post(f"{self.url}/_emulator/{endpoint}", json=body)

    def delete(self, path: str) -> None:
        """Clear what one of the emulator's own endpoints holds."""
        assert self.http.delete(f"{self.url}/_emulator/{path}").status_code == 200

    def journal(self, key: str | None = None, *, since: int = 0) -> list[dict[str, Any]]:
        """Return the journal, or the entries of one key."""
        text = self.http.get(f"{self.url}/_emulator/journal", params={"since": since}).text
        entries = [json.loads(line) for line in text.splitlines()]
        digest = hashlib.sha256((key or "").encode()).hexdigest()[:12]
        return [entry for entry in entries if key is None or entry["key_digest"] == digest]

    def entry(self, key: str) -> dict[str, Any]:
        """Return the only entry of a key, once it is closed."""
        give_up = time.monotonic() + 5
        while time.monotonic() < give_up:
            entries = self.journal(key)
            if entries and entries[0]["outcome"] != "running":
                assert len(entries) == 1
                return entries[0]
            time.sleep(0.02)
        raise AssertionError(f"no closed entry: {self.journal(key)}")

    def kill(self, number: int = signal.SIGTERM) -> None:
        """End the process and wait for its end."""
        self.http.close()
        self.process.send_signal(number)
        self.process.wait(10)
        if self.process.stdout:
            self.process.stdout.close()


Launch = Callable[..., Running]


@pytest.fixture(scope="session")
def launch() -> Iterator[Launch]:
    """Start emulators that end with the session."""
    started: list[Running] = []

    def start(*options: str) -> Running:
        process = subprocess.Popen(
            [sys.executable, "-m", "emulator", "--port", "0", *options],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT / "platform")},
            cwd=ROOT,
        )
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        assert line.startswith("listening on http://127.0.0.1:")
        started.append(Running(line.split()[-1], process))
        return started[-1]

    yield start
    for running in started:
        if running.process.poll() is None:
            running.kill()


@pytest.fixture(scope="session")
def shared_emulator(launch: Launch) -> Running:
    return launch()


@pytest.fixture
def emulator(shared_emulator: Running) -> Iterator[Running]:
    """The emulator that tests share, without faults and at full speed."""
    yield shared_emulator
    shared_emulator.delete("faults")
    shared_emulator.post("settings", latency_ms=0, chunk_ms=0, chunk_words=4)


@pytest.fixture
def key() -> str:
    """A key of this test alone, so that its part of the journal can be told apart."""
    return f"key-{uuid.uuid4().hex}"


@pytest.fixture(scope="session")
def connected(shared_emulator: Running) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(api_key="shared", base_url=shared_emulator.url, max_retries=0) as client:
        yield client


@pytest.fixture
def client(connected: anthropic.Anthropic, emulator: Running, key: str) -> anthropic.Anthropic:
    """The SDK with this test's key, over connections that all tests share."""
    assert emulator.url in str(connected.base_url)
    return connected.with_options(api_key=key)


@pytest.fixture
async def async_client(emulator: Running, key: str) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(api_key=key, base_url=emulator.url, max_retries=0) as client:
        yield client


@pytest.fixture
def make_pdf() -> Callable[..., bytes]:
    """Write a PDF with a line of text on each page, its streams packed as common tools pack them."""

    def write(*pages: str) -> bytes:
        parts = [b"%%PDF-1.4\n1 0 obj << /Type /Pages /Count %d >> endobj" % len(pages)]
        for text in pages:
            packed = base64.a85encode(zlib.compress(f"BT /F1 12 Tf ({text}) Tj ET".encode())) + b"~>"
            head = b"<< /Filter [ /ASCII85Decode /FlateDecode ] /Length %d >>" % len(packed)
            parts.append(b"2 0 obj << /Type /Page >> endobj\n3 0 obj " + head + b" stream\n" + packed + b"\nendstream")
        return b"\n".join(parts)

    return write
