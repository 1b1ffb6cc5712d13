"""A server that logs as production does, and whose log can be read."""

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pytest_django import DjangoDbBlocker

from tests import factories
from tests.live import Live, Program, eventually, running

METRICS_TOKEN = "metrics-token-of-this-test"


@dataclass
class Production:
    """A live server with JSON logs and a metrics token."""

    live: Live
    log: Path

    @property
    def said(self) -> str:
        """Everything that was written."""
        return self.log.read_text()

    def lines(self, event: str, **facts: Any) -> list[dict[str, Any]]:
        """Return the lines of an event that state these facts."""
        parsed = [json.loads(line) for line in self.said.splitlines() if line.startswith("{")]
        return [line for line in parsed if line["event"] == event and facts.items() <= line.items()]

    def line(self, event: str, **facts: Any) -> dict[str, Any]:
        """Wait for the one such line."""
        found = eventually(lambda: self.lines(event, **facts))
        assert len(found) == 1, found
        return found[0]


@dataclass(frozen=True)
class Served:
    program: Program
    log: Path


@pytest.fixture(scope="session")
def production_server(
    tmp_path_factory: pytest.TempPathFactory,
    live_environment: dict[str, str],
) -> Iterator[Served]:
    log = tmp_path_factory.mktemp("production") / "log"
    env = {**live_environment, "SKILLGATE_LOG_FORMAT": "json", "SKILLGATE_METRICS_TOKEN": METRICS_TOKEN}
    env["SKILLGATE_LOG_PROMPTS_OF"] = "prompts-wanted"
    with running("server", "--port", "0", log=log, env=env) as program:
        yield Served(program, log)


@pytest.fixture
def production(
    production_server: Served,
    live_emulator: Program,
    live_tenant: Any,
    django_db_blocker: DjangoDbBlocker,
) -> Production:
    with django_db_blocker.unblock():
        issued = factories.make_key(live_tenant)
    served = Live(
        production_server.program,
        live_emulator.url,
        live_tenant,
        issued.secret,
        issued.key.public_id,
        django_db_blocker,
    )
    return Production(served, production_server.log)


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
