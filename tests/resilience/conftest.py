"""Runs in this process against the real Postgres, Redis and emulator, with waits short enough for tests."""

from collections.abc import Iterator

import pytest
from pytest_django import Settings

from kit import control
from skills.claude import breakers
from tests import shipped
from tests.resilience.bench import Bench
from tests.usage.desk import caller_of, open_desk


@pytest.fixture
def bench(transactional_db: None, settings: Settings) -> Iterator[Bench]:
    """A tenant of this test's own; nothing is held back before or after it."""
    settings.CLAUDE_ATTEMPTS = 3
    settings.CLAUDE_RETRY_SECONDS = 0.02
    shipped.load()
    breakers.clear()
    yield Bench(caller_of(open_desk().key))
    for (key, model), one in breakers._breakers.items():
        if not one.is_closed:  # of which every process was told, also the server that other tests talk to
            told = {"kind": key.kind, "tenant_id": key.tenant_id, "model": model}
            control.publish(breakers.CLOSED, origin="a test's end", **told, seconds=0)
    breakers.clear()
