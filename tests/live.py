"""The whole product in processes of its own: servers, an emulator and a database.

`live` is the server we ship; `live_uvicorn` the same application under another server. What they
write is committed, some of it seconds later, and so their database is not the one of other tests:
while a test has a live tenant, this process speaks to theirs too.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit
from uuid import uuid4

import httpx2
import psutil
import psycopg
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connections
from django.db.backends.base.creation import TEST_DATABASE_PREFIX
from psycopg.rows import dict_row
from pytest_django import DjangoDbBlocker

from kit import pg
from tenants.keys import Issued
from tests import factories, shipped, template
from tests.postgres import on_the_server

ROOT = Path(__file__).resolve().parents[1]
Found = TypeVar("Found")
_PATH = os.pathsep.join([str(ROOT / "platform"), str(ROOT)])
_LISTENING = re.compile(r"(?:Listening on |listening on http://|running on http://)([\d.]+:\d+)")


def eventually(look: Callable[[], Found], *, within: float = 5.0) -> Found:
    """Look again and again until it finds something true, and return it."""
    deadline = time.monotonic() + within
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {within} s; last seen: {found!r}"
        time.sleep(0.02)
    return found


@dataclass
class Program:
    """A process that listens on a port."""

    process: subprocess.Popen[bytes]
    address: str

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def memory(self) -> int:
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def cpu_seconds(self) -> float:
        return float(sum(psutil.Process(self.process.pid).cpu_times()[:2]))

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def running(*arguments: str, log: Path, env: dict[str, str] | None = None) -> Iterator[Program]:
    """Run `python -m …` until the block ends; it must say where it listens."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            env={**os.environ, "PYTHONPATH": _PATH, "PYTHONUNBUFFERED": "1", **(env or {})},
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Program(process, eventually(lambda: _address(process, log), within=90))
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    said = log.read_text(errors="replace")
    assert process.poll() is None, said
    found = _LISTENING.search(said)
    return found[1] if found else ""


@dataclass
class Live:
    """One running server, with a tenant and a key of this test's own."""

    server: Program
    emulator_url: str
    tenant: Any
    key: str
    public_id: str
    _blocker: DjangoDbBlocker = field(repr=False)

    @property
    def base_url(self) -> str:
        return self.server.url

    @property
    def headers(self) -> dict[str, str]:
        return {"X-API-Key": self.key}

    def post(self, path: str, body: Any, **options: Any) -> httpx2.Response:
        headers = {**self.headers, **options.pop("headers", {})}
        return httpx2.post(f"{self.base_url}{path}", json=body, headers=headers, timeout=30, **options)

    def issue_key(self, **options: Any) -> Issued:
        with self._blocker.unblock():
            return factories.make_key(self.tenant, **options)

    def do(self, work: Callable[[], Found]) -> Found:
        """Do database work that the server sees at once."""
        with self._blocker.unblock():
            return work()

    def rows(self, query: str, *parameters: Any) -> list[dict[str, Any]]:
        """Read what is committed."""
        with self._blocker.unblock():
            parameters_of_connection = pg.conninfo()
        with psycopg.connect(**parameters_of_connection, row_factory=dict_row, autocommit=True) as connection:
            return connection.execute(query.encode(), parameters).fetchall()

    def events(self) -> list[dict[str, Any]]:
        """Return the tenant's usage events, in order."""
        return self.rows("SELECT * FROM usage_event WHERE tenant_id = %s ORDER BY number", self.tenant.pk)

    def closed_events(self, count: int = 1, *, within: float = 5.0) -> list[dict[str, Any]]:
        """Wait until there are so many events, all of them closed."""

        def look() -> list[dict[str, Any]]:
            events = self.events()
            return events if len(events) == count and all(one["state"] != "open" for one in events) else []

        return eventually(look, within=within)

    def journal(self) -> list[dict[str, Any]]:
        """Return what the emulator was asked with this test's key."""
        lines = httpx2.get(f"{self.emulator_url}/_emulator/journal", timeout=10).text.splitlines()
        return [entry for entry in map(json.loads, lines) if entry["user_id"] == self.public_id]

    def outcomes(self) -> list[str]:
        """Return how those calls ended."""
        return [entry["outcome"] for entry in self.journal()]

    def free_slots(self) -> int:
        """Return how many concurrent calls the key has left, as the next call is told."""
        answer = self.post("/v1/completions", {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5})
        found = re.search(r'"concurrent";r=(\d+)', answer.headers["RateLimit"])
        assert found, answer.headers
        return int(found[1]) + 1


@pytest.fixture(scope="session")
def live_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """The emulator that the live servers take for Claude."""
    with running("emulator", "--port", "0", log=tmp_path_factory.mktemp("emulator") / "log") as program:
        yield program


@pytest.fixture(scope="session")
def live_database() -> Iterator[str]:
    """The name of the live servers' database, a copy of the migrated one."""
    run, worker = urlsplit(os.environ["DATABASE_URL"]).path.lstrip("/"), os.environ.get("PYTEST_XDIST_WORKER", "")
    name = f"{TEST_DATABASE_PREFIX}live_{run}_{worker}"[:63]
    drop = f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'
    on_the_server(os.environ["DATABASE_URL"], drop)
    on_the_server(os.environ["DATABASE_URL"], f'CREATE DATABASE "{name}" TEMPLATE "{template.made()}"')
    yield name
    on_the_server(os.environ["DATABASE_URL"], drop)


@contextmanager
def spoken_to(name: str) -> Iterator[None]:
    """Have this process speak to a database until the block ends."""
    database = connections["default"].settings_dict
    before = database["NAME"]
    connections.close_all()
    database["NAME"] = name
    try:
        yield
    finally:
        connections.close_all()
        database["NAME"] = before


@pytest.fixture(scope="session")
def live_environment(live_emulator: Program, live_database: str) -> dict[str, str]:
    """What a server needs to know to serve that database and this test run's Redis."""
    return {
        "DATABASE_URL": urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{live_database}").geturl(),
        "REDIS_URL": settings.REDIS_URL,
        "ANTHROPIC_BASE_URL": live_emulator.url,
        "SKILLGATE_EMULATOR_URL": live_emulator.url,
        "ANTHROPIC_API_KEY": "emulator",
        "SKILLGATE_DEBUG": "1",
    }


@pytest.fixture(scope="session")
def daphne_server(tmp_path_factory: pytest.TempPathFactory, live_environment: dict[str, str]) -> Iterator[Program]:
    """The server we ship."""
    with running(
        "server", "--port", "0", log=tmp_path_factory.mktemp("server") / "log", env=live_environment
    ) as served:
        yield served


@pytest.fixture(scope="session")
def uvicorn_server(tmp_path_factory: pytest.TempPathFactory, live_environment: dict[str, str]) -> Iterator[Program]:
    """The same application under uvicorn."""
    command = ("uvicorn", "config.asgi:application", "--port", "0", "--no-access-log")
    with running(*command, log=tmp_path_factory.mktemp("uvicorn") / "log", env=live_environment) as served:
        yield served


@pytest.fixture
def live_tenant(live_database: str, django_db_blocker: DjangoDbBlocker) -> Iterator[Any]:
    """A tenant of this test's own, committed, with skills and prices there; other tests find the tables empty again."""
    with spoken_to(live_database):
        try:
            with django_db_blocker.unblock():
                shipped.load()
                tenant = factories.make_tenant(f"live-{uuid4().hex[:12]}")
            yield tenant
        finally:
            with django_db_blocker.unblock():
                _empty()


def _empty() -> None:
    """Empty every table, again where a process whose work goes on held rows in another order."""
    for left in reversed(range(5)):
        try:
            call_command("flush", verbosity=0, interactive=False, reset_sequences=False, inhibit_post_migrate=True)
        except CommandError:
            if not left:
                raise
        else:
            return


def _live(server: Program, emulator: Program, tenant: Any, blocker: DjangoDbBlocker) -> Live:
    with blocker.unblock():
        issued = factories.make_key(tenant)
    return Live(server, emulator.url, tenant, issued.secret, issued.key.public_id, blocker)


@pytest.fixture
def live(daphne_server: Program, live_emulator: Program, live_tenant: Any, django_db_blocker: DjangoDbBlocker) -> Live:
    """The server we ship, and a key to it."""
    return _live(daphne_server, live_emulator, live_tenant, django_db_blocker)


@pytest.fixture
def live_uvicorn(
    uvicorn_server: Program, live_emulator: Program, live_tenant: Any, django_db_blocker: DjangoDbBlocker
) -> Live:
    """The same application under uvicorn, and a key to it."""
    return _live(uvicorn_server, live_emulator, live_tenant, django_db_blocker)


@pytest.fixture(params=["daphne", "uvicorn"])
def everywhere(request: pytest.FixtureRequest) -> Live:
    """Each server in turn."""
    found: Live = request.getfixturevalue("live" if request.param == "daphne" else "live_uvicorn")
    return found
