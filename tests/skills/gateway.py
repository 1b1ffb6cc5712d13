"""A whole platform in processes of its own: web server, database, Redis; Claude is the emulator of the test run."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import psycopg
from psycopg.rows import dict_row

from tests import template
from tests.postgres import conninfo, on_the_server
from tests.tenants.valkey import Valkey

ROOT = Path(__file__).resolve().parents[2]
CLASSES = ("input_tokens", "output_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens", "cache_read_tokens")
Row = dict[str, Any]
MakeKey = Callable[..., "Key"]


@dataclass(frozen=True)
class Key:
    """A key of a test's own, with its part of the books."""

    secret: str
    public_id: str
    key_id: int
    gateway: "Gateway"

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.secret}"}

    def events(self) -> list[Row]:
        """All usage events of the key, in order, once they are closed."""
        give_up = time.monotonic() + 10
        while True:
            rows = self.gateway.rows("SELECT * FROM usage_event WHERE key_id = %s ORDER BY number", self.key_id)
            if all(row["state"] != "open" for row in rows) or time.monotonic() > give_up:
                return rows
            time.sleep(0.02)

    def event(self) -> Row:
        """The only usage event of the key."""
        rows = self.events()
        assert len(rows) == 1, rows
        return rows[0]

    def billed(self) -> list[Row]:
        """What upstream has on its books for the key, in order, once it is closed there."""
        references = {str(row["id"]) for row in self.events()}
        give_up = time.monotonic() + 10
        while True:
            entries = [entry for entry in self.gateway.journal() if entry["client_reference"] in references]
            if all(entry["outcome"] != "running" for entry in entries) or time.monotonic() > give_up:
                return entries
            time.sleep(0.02)

    def assert_books_agree(self) -> None:
        """One event for each call that upstream billed, and the same tokens of each class in both books."""
        assert self.events()
        ours = {str(row["id"]): {name: row[name] for name in CLASSES} for row in self.events()}
        theirs = {entry["client_reference"]: entry["usage"] for entry in self.billed()}
        assert ours == theirs
        assert {row["state"] for row in self.events()} == {"settled"}

    def revoke(self) -> None:
        self.gateway.ask_clerk("revoke", public_id=self.public_id)


class Gateway:
    """The running platform."""

    def __init__(self, *, database: str, redis: str, log: Path) -> None:
        self.dsn = database
        self.emulator = os.environ["SKILLGATE_EMULATOR_URL"]
        self.env = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT / "platform"), str(ROOT)]),
            "DATABASE_URL": database,
            "REDIS_URL": redis,
            "SKILLGATE_DEBUG": "1",
            "SKILLGATE_CLAUDE_SILENCE_SECONDS": "2",
            "SKILLGATE_TRUSTED_PROXIES": "127.0.0.1/32",  # a test may come from an address of its own
        }
        self._clerk = subprocess.Popen(
            [sys.executable, str(ROOT / "tests/skills/clerk.py")],
            env=self.env,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ask_clerk("prepare")
        self._log = log.open("w+")
        self._server = subprocess.Popen(
            [sys.executable, "-m", "server", "--port", "0"], env=self.env, cwd=ROOT, stderr=self._log
        )
        self.url = f"http://127.0.0.1:{self._announced(log)}"

    def _announced(self, log: Path) -> str:
        give_up = time.monotonic() + 90
        while time.monotonic() < give_up:
            if found := re.search(r"Listening on 127\.0\.0\.1:(\d+)\n", log.read_text()):
                return found[1]
            time.sleep(0.05)
        raise AssertionError(log.read_text())

    @property
    def server_pid(self) -> int:
        return self._server.pid

    def ask_clerk(self, act: str, **wish: Any) -> Row:
        assert self._clerk.stdin is not None
        assert self._clerk.stdout is not None
        self._clerk.stdin.write(json.dumps({"act": act, **wish}) + "\n")
        self._clerk.stdin.flush()
        answered: Row = json.loads(self._clerk.stdout.readline())
        return answered

    def key(self, **options: Any) -> Key:
        return Key(**self.ask_clerk("issue", **options), gateway=self)

    def rows(self, query: str, *parameters: Any) -> list[Row]:
        with psycopg.connect(conninfo(self.dsn), row_factory=dict_row) as connection:
            return connection.execute(query.encode(), parameters).fetchall()

    def journal(self) -> list[Row]:
        text = httpx2.get(f"{self.emulator}/_emulator/journal").text
        return [json.loads(line) for line in text.splitlines()]

    def billed_before(self) -> int:
        """How many calls upstream has on its books, to see that there is no other afterwards."""
        return len(self.journal())

    def close(self) -> None:
        for process in (self._clerk, self._server):
            process.kill()
            process.communicate()
        self._log.close()


@contextmanager
def running(log: Path) -> Iterator[Gateway]:
    """Run a platform on a database of its own beside DATABASE_URL, and remove it all afterwards."""
    base = os.environ["DATABASE_URL"]
    name = f"live_{os.getpid()}"
    valkey = Valkey()
    on_the_server(base, f'CREATE DATABASE {name} TEMPLATE "{template.made()}"')
    try:
        valkey.start()
        database = urlsplit(base)._replace(path=f"/{name}").geturl()
        gateway = Gateway(database=database, redis=f"{valkey.url}?db=0", log=log)
        try:
            yield gateway
        finally:
            gateway.close()
    finally:
        valkey.close()
        on_the_server(base, f"DROP DATABASE {name} WITH (FORCE)")
