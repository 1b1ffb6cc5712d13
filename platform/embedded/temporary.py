"""A PostgreSQL, a Valkey and an emulator for one test run, in a temporary folder, gone when it is over."""

from __future__ import annotations

import os
import secrets
import shutil
from typing import TYPE_CHECKING, Self

from embedded import places, roles
from embedded.postgres import FAST_SETTINGS, Postgres
from embedded.valkey import Valkey
from embedded.warden import Warden

if TYPE_CHECKING:
    from pathlib import Path


class Temporary:
    """Starts what is asked for; `env` tells other processes where it is.

    Tests need not survive a crash of the machine; `is_durable` is for measuring what production does.
    """

    def __init__(self, root: Path, *, is_durable: bool = False) -> None:
        self.where = places.temporary()
        self.warden = Warden(secrets.token_hex(8))
        self.warden.remove(self.where.home)
        self.warden.remove(self.where.sockets)
        self.env: dict[str, str] = {}
        self.root = root
        self.is_durable = is_durable
        self.postgres: Postgres | None = None
        self.valkey: Valkey | None = None
        self.emulator: roles.Emulator | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start_databases(self) -> None:
        """Start the PostgreSQL and the Valkey that the environment does not already name."""
        if "DATABASE_URL" not in os.environ:
            settings = None if self.is_durable else FAST_SETTINGS
            self.postgres = Postgres(self.where, warden=self.warden, settings=settings)
            self.postgres.launch()
            self.env["DATABASE_URL"] = self.postgres.url()
        if "REDIS_URL" not in os.environ:
            self.valkey = Valkey(self.where, warden=self.warden)
            self.valkey.start()
            self.env["REDIS_URL"] = self.valkey.url()
        if self.postgres is not None:
            self.postgres.start()

    def start_emulator(self, argv: tuple[str, ...] = roles.Table().emulator) -> None:
        """Start an emulator and point the environment at it."""
        env = {**roles.environment(os.environ, root=self.root), **self.env}
        setting = roles.Setting(root=self.root, home=self.where.home, warden=self.warden, env=env)
        self.emulator = setting.emulator(argv)
        self.emulator.start()
        self.env.update(self.emulator.environment())

    def close(self) -> None:
        """Stop it all and remove the folder; calling it twice is fine."""
        started = [child for child in (self.emulator, self.valkey, self.postgres) if child is not None]
        for child in started:
            child.ask_to_stop()
        for child in started:
            child.stop()
        if self.where.home.exists():
            self.warden.close()
        for folder in (self.where.home, self.where.sockets):
            shutil.rmtree(folder, ignore_errors=True)
