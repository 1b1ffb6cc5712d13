"""The embedded Valkey: a real server on a private socket, its data kept in an append-only file."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING

import psutil

from embedded import binaries
from embedded.child import Child

if TYPE_CHECKING:
    from embedded.places import Places
    from embedded.warden import Warden

# Roles have a database each, and so has each worker of a parallel test run.
DATABASES = 64
CACHE, CHANNELS, BROKER = 1, 2, 3


class Valkey(Child):
    """The server of one data folder. `start`, `stop`, `kill`, `pause` and `restart` come from Child."""

    def __init__(self, where: Places, *, warden: Warden) -> None:
        self.data = where.data / "valkey"
        self.socket = where.sockets / "valkey.sock"
        self.pidfile = self.data / "valkey.pid"
        super().__init__(
            "Valkey",
            argv=[str(binaries.valkey()), *self._options()],
            log=where.logs / "valkey.log",
            warden=warden,
            env={"PATH": os.defpath, "LC_ALL": "C"},
            cwd=where.home,
            probe=self._answers,
        )

    def url(self, database: int = CACHE) -> str:
        """Return the REDIS_URL of a numbered database on this server."""
        return f"unix://{self.socket}?db={database}"

    def broker_url(self, database: int = BROKER) -> str:
        """Return the CELERY_BROKER_URL of a numbered database on this server."""
        return f"redis+socket://{self.socket}?virtual_host={database}"

    def launch(self) -> None:
        """Stop a server that outlived its supervisor, and start a new one on the same data."""
        if self.is_alive:
            return
        self.data.mkdir(mode=0o700, exist_ok=True)
        self._stop_orphan()
        self.socket.unlink(missing_ok=True)
        super().launch()

    def _options(self) -> list[str]:
        options = {
            "port": 0,
            "unixsocket": self.socket,
            "unixsocketperm": 700,
            "dir": self.data,
            "pidfile": self.pidfile,
            "appendonly": "yes",
            "databases": DATABASES,
            "daemonize": "no",
            "save": "",
        }
        return [part for name, value in options.items() for part in (f"--{name}", str(value))]

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1)
            connection.connect(str(self.socket))
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
        return False

    def _stop_orphan(self) -> None:
        try:
            orphan = psutil.Process(int(self.pidfile.read_text()))
            if not any(str(self.socket) in part for part in orphan.cmdline()):
                return
        except (OSError, ValueError, psutil.Error):
            return
        with contextlib.suppress(psutil.Error):
            orphan.resume()
            orphan.terminate()
            orphan.wait(self.grace_seconds)
        with contextlib.suppress(psutil.Error):
            orphan.kill()
            orphan.wait(self.grace_seconds)
