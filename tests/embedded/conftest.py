"""Servers and checkouts in temporary folders, and nothing of them left afterwards."""

import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from embedded import places
from embedded.postgres import FAST_SETTINGS, Postgres
from embedded.valkey import Valkey
from embedded.warden import Warden


@pytest.fixture
def warden() -> Iterator[Warden]:
    with Warden(secrets.token_hex(8)) as warden:  # a mark of its own: others are tried beside it
        yield warden
        warden.sweep()


@pytest.fixture
def where() -> Iterator[places.Places]:
    where = places.temporary()
    yield where
    shutil.rmtree(where.home)
    shutil.rmtree(where.sockets, ignore_errors=True)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Path]:
    """The data of a server that was started once; to make them takes most of what a test of something else would."""
    where = places.temporary()
    with Warden(secrets.token_hex(8)) as warden:
        postgres = Postgres(where, warden=warden, settings=FAST_SETTINGS)
        try:
            postgres.start()
            postgres.stop()
            yield postgres.data
        finally:
            warden.sweep()
            shutil.rmtree(where.home)
            shutil.rmtree(where.sockets, ignore_errors=True)


def seed(where: places.Places, cluster: Path) -> None:
    """Have PostgreSQL find data there, with their owner."""
    subprocess.run(["cp", "-a", str(cluster), str(where.data / "pg")], check=True)


@pytest.fixture
def postgres(where: places.Places, warden: Warden) -> Iterator[Postgres]:
    postgres = Postgres(where, warden=warden, settings=FAST_SETTINGS)
    yield postgres
    postgres.stop()


@pytest.fixture
def valkey(where: places.Places, warden: Warden) -> Iterator[Valkey]:
    valkey = Valkey(where, warden=warden)
    yield valkey
    valkey.stop()


@contextmanager
def empty_checkout() -> Iterator[Path]:
    """Make a checkout that an unprivileged user can walk to, as most are, and remove it afterwards."""
    root = Path(tempfile.mkdtemp(prefix="skillgate-checkout-"))
    root.chmod(0o711)
    try:
        yield root
    finally:
        for folder in (root, *places.outside(root)):
            shutil.rmtree(folder)


@pytest.fixture
def checkout() -> Iterator[Path]:
    """An empty checkout of this test's own."""
    with empty_checkout() as root:
        yield root
