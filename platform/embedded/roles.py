"""The table of Skillgate's own processes, and the environment they run in."""

from __future__ import annotations

import http.client
import re
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypedDict, Unpack

from embedded.child import Child
from embedded.report import PREVIOUS

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from embedded.warden import Warden


class _Common(TypedDict):
    log: Path
    warden: Warden
    env: dict[str, str]
    cwd: Path


_CELERY = ("{python}", "-m", "celery", "-A", "config.celery")
_PREVIOUS = f"{{home}}/{PREVIOUS}"
_ANSWER_SECONDS = 2.0  # before it serves, who asks is let in and waits: meanwhile nobody tends the processes
_ANNOUNCED = re.compile(r"^listening on (http://\S+?:(\d+))/?\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Each process as its arguments; `{python}`, `{port}`, `{fd}` and `{home}` are filled in when it starts.

    `web` takes over the socket `{fd}`, which listens already.

    `prepare` runs to its end and writes, as its last line, the demo's credentials as JSON.
    """

    emulator: tuple[str, ...] = ("{python}", "-m", "emulator", "--port", "{port}")
    prepare: tuple[str, ...] = ("{python}", "manage.py", "prepare_demo", "--json", "--demo-file", _PREVIOUS)
    web: tuple[str, ...] = ("{python}", "-m", "server", "--fd", "{fd}")
    background: Mapping[str, tuple[str, ...]] = field(
        default_factory=lambda: {
            "worker": (*_CELERY, "worker", "-l", "warning", "--concurrency", "2"),
            "analyses": (
                *_CELERY,
                "worker",
                "-Q",
                "analyses",
                "-n",
                "analyses@%h",
                "-l",
                "warning",
                "--concurrency",
                "2",
            ),
            "beat": (*_CELERY, "beat", "-l", "warning", "--schedule", "{home}/celerybeat-schedule", "--pidfile="),
        }
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Where the processes of one run live: shared by all that `child` makes."""

    root: Path
    home: Path
    warden: Warden
    env: dict[str, str]

    def child(self, name: str, argv: tuple[str, ...]) -> Child:
        """Make a process of the table, not yet started."""
        return Child(name, argv=self.filled(argv), **self._common(name))

    def web(self, argv: tuple[str, ...], *, listener: socket.socket) -> Child:
        """Make the web server's process, not yet started; it takes over a socket that listens."""
        fd = listener.fileno()
        return Child("web", argv=self.filled(argv, fd=fd), descriptors=[fd], **self._common("web"))

    def emulator(self, argv: tuple[str, ...]) -> Emulator:
        """Make the emulator's process, not yet started."""
        return Emulator(lambda port: self.filled(argv, port=port), **self._common("emulator"))

    def filled(self, argv: tuple[str, ...], *, port: int = 0, fd: int = -1) -> list[str]:
        """Return the arguments with their blanks filled in."""
        return [part.format(python=sys.executable, port=port, fd=fd, home=self.home) for part in argv]

    def _common(self, name: str) -> _Common:
        log = self.home / "log" / f"{name}.log"
        return {"log": log, "warden": self.warden, "env": self.env, "cwd": self.root}


class Emulator(Child):
    """The Claude emulator: it chooses its port, says so in its first line, and keeps it when it is started again."""

    def __init__(self, argv: Callable[[int], list[str]], **common: Unpack[_Common]) -> None:
        super().__init__("emulator", argv=argv(0), **common)
        self.url = ""
        self._argv = argv

    def environment(self) -> dict[str, str]:
        """Tell others to take the emulator for Claude; the key is no secret, it takes any."""
        return {"SKILLGATE_EMULATOR_URL": self.url, "ANTHROPIC_BASE_URL": self.url, "ANTHROPIC_API_KEY": "emulator"}

    def is_ready(self) -> bool:
        """Tell whether the emulator has said where it listens."""
        if self.is_alive and not self.url and (said := _ANNOUNCED.search(self.written())):
            self.url = said[1]
            self.argv = self._argv(int(said[2]))
        return self.is_alive and bool(self.url)


def environment(inherited: Mapping[str, str], *, root: Path) -> dict[str, str]:
    """Return what every process of ours is told, before the addresses are known."""
    env = {
        "SKILLGATE_DEBUG": "1",
        **inherited,
        "PYTHONPATH": str(root / "platform"),
        "PYTHONUNBUFFERED": "1",
    }
    # A proxy of the surroundings must not get between our own processes.
    for name in ("no_proxy", "NO_PROXY"):
        env[name] = ",".join(filter(None, [inherited.get(name), "127.0.0.1", "localhost"]))
    return env


def answers_ready(port: int) -> tuple[bool, str]:
    """Ask the web server whether all is ready, and return its words too."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_ANSWER_SECONDS)
    try:
        connection.request("GET", "/health/ready")
        response = connection.getresponse()
        return response.status == http.HTTPStatus.OK, response.read(2000).decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return False, str(error)
    finally:
        connection.close()
