"""The embedded PostgreSQL: a real server on a private socket, recovered from however it last ended."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import psutil

from embedded import binaries, places, waiting
from embedded.child import Child, StartError
from embedded.warden import family

if TYPE_CHECKING:
    from collections.abc import Mapping

    from embedded.warden import Warden

SETTINGS = {
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "synchronous_commit": "on",
    "fsync": "on",
    "unix_socket_permissions": "0700",
}
# For tests: safe against a kill -9 of the server (the commit is with the kernel), not against a power cut.
FAST_SETTINGS = {"fsync": "off", "full_page_writes": "off", "shared_buffers": "128MB"}
MAJOR = "18"


class Postgres(Child):
    """The server of one data folder. `start`, `stop`, `kill`, `pause` and `restart` come from Child."""

    stop_signal = signal.SIGINT  # Fast shutdown: sessions are cut, everything committed stays.
    grace_seconds = 20.0

    def __init__(self, where: places.Places, *, warden: Warden, settings: Mapping[str, str] | None = None) -> None:
        self.data = where.data / "pg"
        self.sockets = where.sockets / "pg"
        self.programs = binaries.postgres(data=where.data, account=where.account)
        self.settings = {**SETTINGS, **(settings or {})}
        super().__init__(
            "PostgreSQL",
            argv=[str(self.programs / "postgres"), "-D", str(self.data), "-k", str(self.sockets), *self._options()],
            log=where.logs / "postgres.log",
            warden=warden,
            env={"PATH": os.defpath, "LC_ALL": "C"},
            cwd=where.data if where.account is None else Path("/"),
            account=where.account,
            probe=self._answers,
        )

    def url(self, database: str = "skillgate") -> str:
        """Return the DATABASE_URL of a database on this server."""
        return f"postgres://postgres@{quote(str(self.sockets), safe='')}/{database}"

    def launch(self) -> None:
        """Clear what an earlier server left, create the data on first use, and start the server."""
        if self.is_alive:
            return
        self._refuse_foreign_data()
        places.own(self.sockets, self.account)
        self._stop_orphan()
        self._remove_leftovers()
        if not (self.data / "PG_VERSION").exists():
            self._create_data()
        super().launch()

    def _options(self) -> list[str]:
        return [part for name, value in self.settings.items() for part in ("-c", f"{name}={value}")]

    def _answers(self) -> bool:
        return self._run("pg_isready", "-h", str(self.sockets), "-q").returncode == 0

    def _refuse_foreign_data(self) -> None:
        if not self.data.exists():
            return
        if self.account is None and self.data.stat().st_uid != os.geteuid():
            raise StartError(f"{self.data} belongs to another user: run as that user, or `make clean` as that user.")
        with contextlib.suppress(FileNotFoundError):
            version = (self.data / "PG_VERSION").read_text().strip()
            if version != MAJOR:
                raise StartError(f"{self.data} was made by PostgreSQL {version}, this is {MAJOR}: move it away.")

    def _create_data(self) -> None:
        """Make the cluster beside its place and move it there, so that an interrupted attempt is never taken for one."""
        unfinished = self.data.with_name("pg-unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        places.own(unfinished, self.account)
        options = ["--username=postgres", "--auth-local=trust", "--auth-host=reject", "--encoding=UTF8"]
        locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        syncing = ["--no-sync"] if self.settings["fsync"] == "off" else []
        made = self._run("initdb", "-D", str(unfinished), *options, *locale, *syncing, "--no-instructions")
        if made.returncode != 0:
            raise StartError(f"initdb could not create {self.data}:\n{made.stdout[-2000:]}")
        unfinished.rename(self.data)

    def _stop_orphan(self) -> None:
        """Stop a server that outlived its supervisor, and wait for the last backend of one that was killed."""
        orphan = self._running()
        if orphan is not None:
            with contextlib.suppress(psutil.Error):
                orphan.send_signal(signal.SIGINT)
                for process in family(orphan.pid):
                    process.resume()  # Paused, it could not hear.
                orphan.wait(self.grace_seconds)
        if not waiting.until(lambda: not self._backends(), seconds=5):
            for backend in self._backends():
                with contextlib.suppress(psutil.Error):
                    backend.kill()
            waiting.until(lambda: not self._backends(), seconds=5)

    def _running(self) -> psutil.Process | None:
        """Find the live server that postmaster.pid names; a dead, a zombie and a stranger of that number are none."""
        try:
            process = psutil.Process(int((self.data / "postmaster.pid").read_text().split()[0]))
            is_ours = process.status() != psutil.STATUS_ZOMBIE and str(self.data) in process.cmdline()
        except (OSError, ValueError, IndexError, psutil.Error):
            return None
        return process if is_ours else None

    def _backends(self) -> list[psutil.Process]:
        """Find the processes whose working folder is the data: only PostgreSQL's own have it."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.name() == "postgres" and process.cwd() == str(self.data):
                    found.append(process)
        return found

    def _remove_leftovers(self) -> None:
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        for socket in self.sockets.glob(".s.PGSQL.*"):
            socket.unlink()

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603 - the wheel's own program, no shell.
            [str(self.programs / program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.cwd,
            env=self.env,
            check=False,
            **places.as_user(self.account),
        )
