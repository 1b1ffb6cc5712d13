"""A running platform for the tests that need one."""

import os
from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.live import (  # noqa: F401 - fixtures
    daphne_server,
    everywhere,
    live,
    live_emulator,
    live_environment,
    live_tenant,
    live_uvicorn,
    uvicorn_server,
)
from tests.skills.gateway import Gateway, Key, MakeKey, conninfo
from tests.tenants.valkey import Valkey


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The platform that all live tests share, on a database of its own."""
    base = os.environ["DATABASE_URL"]
    name = f"live_{os.getpid()}"
    database = urlsplit(base)._replace(path=f"/{name}").geturl()
    with psycopg.connect(conninfo(base), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    valkey = Valkey()
    try:
        valkey.start()
        running = Gateway(database=database, redis=f"{valkey.url}?db=0", log=tmp_path_factory.mktemp("gateway") / "log")
        try:
            yield running
        finally:
            running.close()
    finally:
        valkey.close()
        with psycopg.connect(conninfo(base), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def make_key(gateway: Gateway) -> MakeKey:
    return gateway.key


@pytest.fixture
def key(gateway: Gateway) -> Key:
    """A key of this test alone."""
    return gateway.key()
