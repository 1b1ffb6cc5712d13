"""A running platform for the tests that need one."""

from collections.abc import Iterator

import pytest

from tests.live import (  # noqa: F401 - fixtures
    daphne_server,
    everywhere,
    live,
    live_database,
    live_emulator,
    live_environment,
    live_tenant,
    live_uvicorn,
    uvicorn_server,
)
from tests.skills.gateway import Gateway, Key, MakeKey, running


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The platform that all live tests share, on a database of its own."""
    with running(tmp_path_factory.mktemp("gateway") / "log") as gateway:
        yield gateway


@pytest.fixture
def make_key(gateway: Gateway) -> MakeKey:
    return gateway.key


@pytest.fixture
def key(gateway: Gateway) -> Key:
    """A key of this test alone."""
    return gateway.key()
