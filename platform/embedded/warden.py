"""What stops everything when the process that started it cannot: a small process that outlives its parent.

The parent tells its warden, over a pipe, which process groups it started. When the pipe closes without a word of
farewell (a kill -9, a crash), the warden stops them all, then itself.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Self

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Every process we start carries this variable, and so do its children; see `sweep`.
MARK = "SKILLGATE_WARDEN"
GRACE_SECONDS = 5.0


class Warden:
    """The parent's side of the pipe."""

    def __init__(self, mark: str) -> None:
        self.mark = mark
        self._state: dict[str, str] = {}
        self._process = self._spawn()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Name the process that watches over this one."""
        return self._process.pid

    def watch(self, group: int, stop_signal: int) -> None:
        """Have the process group stopped, politely at first, should this process vanish."""
        self._state[f"group {group}"] = str(int(stop_signal))
        self._tell(f"group {group} {int(stop_signal)}")

    def forget(self, group: int) -> None:
        """Take the process group off the list: it has ended."""
        self._state.pop(f"group {group}", None)
        self._tell(f"forget {group}")

    def remove(self, directory: Path) -> None:
        """Have the temporary directory deleted once everything is stopped."""
        self._state[f"remove {directory}"] = ""
        self._tell(f"remove {directory}")

    def check(self) -> None:
        """Replace a warden that was killed: without one, a kill -9 would leave processes behind."""
        if self._process.poll() is not None:
            os.close(self._pipe)
            self._process = self._spawn()

    def sweep(self) -> int:
        """Kill what still carries this warden's mark, and count it."""
        return sweep(self.mark)

    def close(self) -> None:
        """Send the warden home; call it once everything is stopped."""
        self._tell("farewell")
        os.close(self._pipe)
        self._process.wait()

    def _spawn(self) -> subprocess.Popen[bytes]:
        read, self._pipe = os.pipe()
        # All at once and before it lives: there is no moment at which a warden knows only half.
        os.write(self._pipe, "".join(f"{key} {value}".strip() + "\n" for key, value in self._state.items()).encode())
        argv = [sys.executable, "-I", __file__, self.mark, str(os.getpid())]
        try:
            return subprocess.Popen(  # noqa: S603 - our own script, no shell.
                argv, stdin=read, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, cwd="/"
            )
        finally:
            os.close(read)

    def _tell(self, line: str) -> None:
        with contextlib.suppress(BrokenPipeError):
            os.write(self._pipe, f"{line}\n".encode())


def sweep(mark: str) -> int:
    """Kill every process that carries the mark, however it came to be, and count them."""
    found = [process for process in psutil.process_iter() if _carries(process, mark)]
    for process in found:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(found, timeout=GRACE_SECONDS)
    return len(found)


def family(pid: int) -> list[psutil.Process]:
    """Find a process and all its descendants, those in sessions of their own too."""
    try:
        leader = psutil.Process(pid)
        return [leader, *leader.children(recursive=True)]
    except psutil.Error:
        return []


def _carries(process: psutil.Process, mark: str) -> bool:
    if process.pid == os.getpid():
        return False
    try:
        found: str | None = process.environ().get(MARK)
    except (psutil.Error, OSError):
        return False  # Ended meanwhile, or someone else's.
    return found == mark


def _orders(parent: int) -> Iterator[str]:
    """Yield the parent's orders until it says farewell or vanishes."""
    buffer = b""
    while True:
        if not select.select([0], [], [], 0.5)[0]:
            if os.getppid() != parent:
                return  # A fork of the parent holds the pipe open.
            continue
        chunk = os.read(0, 65536)
        if not chunk:
            return
        *lines, buffer = (buffer + chunk).split(b"\n")
        yield from (line.decode() for line in lines)


def _stop(groups: dict[int, int]) -> None:
    everyone = [process for group in groups for process in family(group)]
    # The last started goes first, so that the databases outlive those who use them.
    for group, stop_signal in reversed(groups.items()):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, stop_signal)
    for process in everyone:
        with contextlib.suppress(psutil.Error):
            process.resume()  # Paused, it could not hear.
    # Only the groups were asked; who left them in a session of its own (PostgreSQL's apart) would not end by itself.
    psutil.wait_procs([process for process in everyone if process.pid in groups], timeout=GRACE_SECONDS)
    for process in everyone:
        with contextlib.suppress(psutil.Error):
            process.kill()
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


def main(mark: str, parent: int) -> None:
    """Wait for the parent's end and then stop what it left behind."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: dict[int, int] = {}
    directories: list[str] = []
    for order in _orders(parent):
        verb, _, rest = order.partition(" ")
        if verb == "farewell":
            return
        if verb == "group":
            group, stop_signal = map(int, rest.split())
            groups[group] = stop_signal
        elif verb == "forget":
            groups.pop(int(rest), None)
        elif verb == "remove":
            directories.append(rest)
    _stop(groups)
    sweep(mark)
    for directory in directories:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
