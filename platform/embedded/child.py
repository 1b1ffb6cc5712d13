"""One process that we started: how it begins, whether it lives, how it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import psutil

from embedded import waiting
from embedded.places import as_user
from embedded.warden import MARK, family

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from embedded.places import Account
    from embedded.warden import Warden


class StartError(Exception):
    """Something could not be started; the message says what and why, in words for the person at the terminal."""


class Child:
    """A supervised process in a session of its own, its output in a log file.

    `probe` answers whether it is ready for use; without one it is ready as soon as it runs. `descriptors` are of open
    files that it takes over, each time it is started.
    """

    stop_signal = signal.SIGTERM
    grace_seconds = 10.0

    def __init__(
        self,
        name: str,
        *,
        argv: Sequence[str],
        log: Path,
        warden: Warden,
        env: Mapping[str, str],
        cwd: Path,
        account: Account | None = None,
        probe: Callable[[], bool] | None = None,
        descriptors: Sequence[int] = (),
    ) -> None:
        self.name = name
        self.argv = list(argv)
        self.log = log
        self.warden = warden
        self.env = dict(env)
        self.cwd = cwd
        self.account = account
        self.probe = probe
        self.descriptors = tuple(descriptors)
        self.log_starts_at = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Name the running process, or 0."""
        return self._process.pid if self._process is not None else 0

    @property
    def is_alive(self) -> bool:
        """Tell whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def is_ready(self) -> bool:
        """Tell, without waiting, whether the process can be used."""
        return self.is_alive and (self.probe is None or self.probe())

    def launch(self) -> None:
        """Start the process and not wait for it."""
        if self.is_alive:
            return
        self._process = self._spawn()
        self.warden.watch(self._process.pid, self.stop_signal)

    def start(self, *, seconds: float = 60.0, pulse: Callable[[], None] = waiting.nothing) -> None:
        """Start the process and return once it is ready; raises StartError with the log's tail."""
        self.launch()
        waiting.until(lambda: self.is_ready() or not self.is_alive, seconds=seconds, pulse=pulse)
        if not self.is_ready():
            self.kill()
            raise StartError(f"{self.name} did not start. The end of {self.log}:\n{self.tail()}")

    def run(self, *, seconds: float, pulse: Callable[[], None] = waiting.nothing) -> str:
        """Run a process that ends by itself and return what it wrote; raises StartError."""
        self.launch()
        ended = waiting.until(lambda: not self.is_alive, seconds=seconds, pulse=pulse)
        code = self._process.returncode if self._process is not None else None
        self.kill()
        if code != 0:
            fate = f"failed with exit code {code}" if ended else f"did not end within {seconds:.0f} s"
            raise StartError(f"{self.name} {fate}. The end of {self.log}:\n{self.tail()}")
        return self.written()

    def ask_to_stop(self) -> None:
        """Send the stop signal and not wait."""
        if self.is_alive:
            self._signal_group(self.stop_signal)
            self.resume()  # Paused, it could not hear.

    def stop(self) -> None:
        """Stop the process, politely first, and leave none of its group."""
        self.ask_to_stop()
        waiting.until(lambda: not self.is_alive, seconds=self.grace_seconds)
        self.kill()

    def kill(self) -> None:
        """End the process and its group with SIGKILL, and reap it."""
        if self._process is None:
            return
        self._signal_group(signal.SIGKILL)
        self._process.wait()
        self._signal_group(signal.SIGKILL)  # Those that it started between the signal and its end.
        self.warden.forget(self._process.pid)
        self._process = None  # Its number may now be anyone's: never signal it again.

    def restart(self) -> None:
        """Stop the process and start it again."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze the process and all its descendants (SIGSTOP)."""
        for process in family(self.pid):
            with contextlib.suppress(psutil.Error):
                process.suspend()

    def resume(self) -> None:
        """Thaw what `pause` froze."""
        for process in family(self.pid):
            with contextlib.suppress(psutil.Error):
                process.resume()

    def tail(self, *, lines: int = 20) -> str:
        """Return the last lines that this run of the process wrote."""
        return "\n".join(self.written().splitlines()[-lines:])

    def written(self) -> str:
        """Return all that this run of the process wrote."""
        try:
            with self.log.open("rb") as file:
                file.seek(self.log_starts_at)
                return file.read().decode(errors="replace")
        except FileNotFoundError:
            return ""

    def _signal_group(self, number: int) -> None:
        # On macOS a group of which only zombies are left answers EPERM.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def _spawn(self) -> subprocess.Popen[bytes]:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.log_starts_at = log.tell()
            log.write(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} {self.name} starts ---\n".encode())
            log.flush()
            try:
                return subprocess.Popen(  # noqa: S603 - the arguments are ours, and there is no shell.
                    self.argv,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=self.cwd,
                    env={**self.env, MARK: self.warden.mark},
                    start_new_session=True,
                    pass_fds=self.descriptors,
                    **as_user(self.account),
                )
            except (OSError, subprocess.SubprocessError) as error:
                raise StartError(f"{self.name} cannot be run ({' '.join(self.argv[:3])} …): {error}") from error
