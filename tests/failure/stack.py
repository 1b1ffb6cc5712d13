"""The whole platform as real processes of its own, each of which can be killed, paused and started again."""

import http.client
import json
import os
import secrets
import shutil
import socket
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

import psycopg
from psycopg.rows import dict_row
from redis import Redis

from embedded import places, roles
from embedded.postgres import FAST_SETTINGS, Postgres
from embedded.valkey import CACHE, Valkey
from embedded.warden import Warden
from tests import template
from tests.failure.clerk import Clerk

ROOT = Path(__file__).resolve().parents[2]
# How long the second web process lets calls go on after SIGTERM: 25 s unless set, too long for a test.
GRACE_SECONDS = 8
# How long Claude may be silent in the middle of an answer: 60 s unless set.
SILENCE_SECONDS = 4
_WEB = ("{python}", "-m", "server", "--host", "127.0.0.1", "--port")
_CELERY = ("{python}", "-m", "celery", "-A", "config.celery")
_PLENTY = {"requests_per_minute": 1_000_000, "tokens_per_minute": 10_000_000_000, "concurrent_calls": 100_000}

Row = dict[str, Any]


class Stack:
    """PostgreSQL, Valkey (append-only file), emulator with its journal, two web processes, worker, beat.

    Processes are killed here, not machines: what Postgres has written needs no fsync to survive.
    """

    def __init__(self) -> None:
        self.where = places.temporary()
        self.warden = Warden(secrets.token_hex(8))
        self.warden.remove(self.where.home)
        self.warden.remove(self.where.sockets)
        self.postgres = Postgres(self.where, warden=self.warden, settings=FAST_SETTINGS)
        self.valkey = Valkey(self.where, warden=self.warden)
        self.setting = roles.Setting(root=ROOT, home=self.where.home, warden=self.warden, env=self._environment())
        self.journal = self.where.home / "journal.ndjson"
        self.emulator = self.setting.emulator((*roles.Table().emulator, "--journal", str(self.journal)))
        self.ports = _free_ports(2)
        self.webs = [self.setting.child(f"web{number}", (*_WEB, str(port))) for number, port in enumerate(self.ports)]
        for child, port in zip(self.webs, self.ports, strict=True):
            child.probe = partial(_serves, port)
        self.webs[1].env["SKILLGATE_GRACE_SECONDS"] = str(GRACE_SECONDS)
        self.worker = self.setting.child("worker", (*_CELERY, "worker", "-l", "warning", "--concurrency", "1"))
        self._clerk: Clerk | None = None
        self.abandoned: list[str] = []  # usage events that are meant to be open until the sweep
        self.beat = self.setting.child("beat", roles.Table().background["beat"])

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def urls(self) -> list[str]:
        """Where the two web processes listen."""
        return [f"http://127.0.0.1:{port}" for port in self.ports]

    def start(self) -> None:
        """Start everything and prepare the database; on failure nothing is left."""
        try:
            self.postgres.launch()
            self.valkey.start()
            self.emulator.start()
            self.postgres.start()
            for name in ("ANTHROPIC_BASE_URL", "SKILLGATE_EMULATOR_URL"):
                for env in (self.setting.env, *(child.env for child in (*self.webs, self.worker, self.beat))):
                    env[name] = self.emulator.url
            self.sql("CREATE DATABASE skillgate", database="postgres")
            template.restore(self.postgres.url(), programs=self.postgres.programs)
            self._clerk = Clerk(self.setting.env, log=self.where.logs / "clerk.log")
            self._clerk.manage("prepare_demo", "--json", "--demo-file", str(self.where.home / "demo.json"))
            for child in (*self.webs, self.worker, self.beat):
                child.launch()
            for child in self.webs:
                child.start()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Stop everything and remove the folders."""
        if self._clerk:
            self._clerk.close()
        for child in (self.beat, self.worker, *self.webs, self.emulator, self.valkey, self.postgres):
            child.resume()
            child.kill()
        self.warden.sweep()
        self.warden.close()
        for folder in (self.where.home, self.where.sockets):
            shutil.rmtree(folder, ignore_errors=True)

    @property
    def clerk(self) -> Clerk:
        """The process that does an operator's work."""
        assert self._clerk, "the stack has not started"
        return self._clerk

    def manage(self, *arguments: str) -> str:
        """Run a management command in a process of its own and return the last line that it wrote."""
        argv = ("{python}", str(ROOT / "manage.py"), *arguments)
        said = self.setting.child(f"manage-{arguments[0]}", argv).run(seconds=180)
        return said.rstrip().rpartition("\n")[2]

    def tenant(self, slug: str, *, monthly_tokens: int = 10**12) -> str:
        """Create a tenant and return its slug."""
        self.clerk.manage(
            "create_tenant", "--slug", slug, "--name", slug, "--monthly-token-budget", str(monthly_tokens)
        )
        return slug

    def python(self, code: str) -> str:
        """Run a few statements inside the project and return the last line that they wrote."""
        return self.clerk.manage("shell", "--no-imports", "-c", code)

    def key(self, tenant: str = "demo", *, name: str, **terms: int) -> str:
        """Issue a key whose limits are out of the way unless given, and return its secret."""
        options = {"monthly_token_budget": 10**12, **_PLENTY, **terms}
        flags = [part for term, value in options.items() for part in (f"--{term.replace('_', '-')}", str(value))]
        return self.clerk.manage("issue_key", "--tenant", tenant, "--name", name, *flags)

    def sql(self, query: str, parameters: Sequence[Any] = (), *, database: str = "skillgate") -> list[Row]:
        """Run a statement in a session of its own and return its rows."""
        url = self.postgres.url(database).replace("postgres://", "postgresql://")
        with psycopg.connect(url, autocommit=True, row_factory=dict_row, connect_timeout=10) as connection:
            cursor = connection.execute(query.encode(), parameters or None)
            return cursor.fetchall() if cursor.description else []

    def open_events(self) -> list[str]:
        """Return the usage events that are open, but for those that are meant to be."""
        rows = self.sql("SELECT id FROM usage_event WHERE state = 'open'")
        return [str(row["id"]) for row in rows if str(row["id"]) not in self.abandoned]

    def redis(self, database: int = CACHE) -> Redis:
        """Return a client of a numbered database."""
        return Redis(unix_socket_path=str(self.valkey.socket), db=database, socket_timeout=1)

    def calls(self) -> list[Row]:
        """Return what the emulator billed, one entry a call."""
        entries: dict[int, Row] = {}
        for line in self.journal.read_text().splitlines():
            entry = json.loads(line)
            entries[entry["seq"]] = entry
        return list(entries.values())

    def logged(self, word: str) -> list[str]:
        """Return the lines of all our processes' logs that contain a word."""
        logs = sorted(self.where.logs.glob("*.log"))
        return [f"{log.stem}: {line}" for log in logs for line in log.read_text().splitlines() if word in line]

    def _environment(self) -> dict[str, str]:
        return {
            **roles.environment(os.environ, root=ROOT),
            "DATABASE_URL": self.postgres.url(),
            "REDIS_URL": self.valkey.url(),
            "CELERY_BROKER_URL": self.valkey.broker_url(),
            "ANTHROPIC_API_KEY": "emulator",
            "SKILLGATE_PROCESS_COUNT": "2",
            "SKILLGATE_TRUSTED_PROXIES": "127.0.0.1/32",  # a test may come from an address of its own
            "SKILLGATE_CLAUDE_SILENCE_SECONDS": str(SILENCE_SECONDS),
            "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
        }


def _free_ports(count: int) -> list[int]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


def _serves(port: int) -> bool:
    """Whether it answers: it listens well before that."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/health/live")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
