"""Every test here has Redis to itself; what the app remembers in memory starts empty."""

from collections.abc import Iterator

import pytest
from pytest_django import Settings

from tenants import audit
from tenants.keys import authentication, cache, failures
from tests.tenants.valkey import Valkey


@pytest.fixture(scope="session")
def lasting_valkey() -> Iterator[Valkey]:
    server = Valkey()
    server.start()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def valkey(lasting_valkey: Valkey, settings: Settings) -> Valkey:
    lasting_valkey.command("FLUSHALL")
    use(lasting_valkey, settings)
    return lasting_valkey


@pytest.fixture
def own_valkey(settings: Settings) -> Iterator[Valkey]:
    """A server that the test may treat badly."""
    server = Valkey()
    server.start()
    use(server, settings)
    yield server
    server.close()


def use(server: Valkey, settings: Settings) -> None:
    settings.REDIS_URL = server.url
    settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": server.url}}


@pytest.fixture(autouse=True)
def _empty_memory() -> None:
    cache.clear()
    audit._gathered.clear()
    authentication._last_uses.clear()
    authentication._rehashes.clear()
    failures._here.clear()
    failures._breaker.worked()
