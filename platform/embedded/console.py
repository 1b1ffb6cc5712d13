"""Commands that lend the embedded servers to another program: psql, and any that needs databases of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from embedded import databases, lock, places, roles
from embedded.child import StartError
from embedded.postgres import Postgres
from embedded.temporary import Temporary
from embedded.valkey import Valkey
from embedded.warden import Warden

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


def psql(root: Path) -> int:
    """Open psql on the checkout's database, starting PostgreSQL for as long as it is open."""
    where = places.of_checkout(root)
    with Warden(os.urandom(8).hex()) as warden:
        postgres = Postgres(where, warden=warden)
        url = os.environ.get("DATABASE_URL") or postgres.url()
        with contextlib.nullcontext() if "DATABASE_URL" in os.environ else _running(postgres, where=where):
            return _call([str(postgres.programs / "psql"), url], env=os.environ)


def manage(root: Path, command: list[str]) -> int:
    """Run one of `manage.py`'s commands on the checkout's databases, which `make run` has running or not."""
    where = places.of_checkout(root)
    with Warden(os.urandom(8).hex()) as warden:
        postgres, valkey = Postgres(where, warden=warden), Valkey(where, warden=warden)
        env = {"DATABASE_URL": postgres.url(), "REDIS_URL": valkey.url(), **roles.environment(os.environ, root=root)}
        with contextlib.nullcontext() if "DATABASE_URL" in os.environ else _running(postgres, where=where):
            return _call([sys.executable, str(root / "manage.py"), *command], env=env)


def execute(root: Path, command: list[str]) -> int:
    """Run the command with a PostgreSQL and a Valkey of its own and return its exit code."""
    with Temporary(root) as temporary:
        temporary.start_databases()
        databases.create_if_absent(temporary.env.get("DATABASE_URL") or os.environ["DATABASE_URL"])
        return _call(command, env={**os.environ, **temporary.env})


@contextlib.contextmanager
def _running(postgres: Postgres, *, where: places.Places) -> Iterator[None]:
    try:
        with lock.hold(where.home / "lock"):
            postgres.start()
            try:
                databases.create_if_absent(postgres.url())
                yield
            finally:
                postgres.stop()
    except lock.LockedError:
        yield  # `make run` has it running.


def _call(command: list[str], *, env: Mapping[str, str]) -> int:
    try:
        return subprocess.call(command, env=env)  # noqa: S603 - the person's own command, no shell.
    except OSError as error:
        raise StartError(f"{command[0]} cannot be run: {error}") from error
