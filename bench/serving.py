"""What the benchmarks measure: the platform's servers, the emulator and peers, each a process of its own."""

import http.client
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from embedded import databases
from embedded.temporary import Temporary

ROOT = Path(__file__).resolve().parents[1]
SERVERS = {
    "daphne": ["-m", "server", "--port", "{port}"],
    # Which proxies are trusted is the platform's own setting, so uvicorn need not look for their headers.
    "uvicorn": [
        "-m",
        "uvicorn",
        "config.asgi:application",
        "--port",
        "{port}",
        "--no-access-log",
        "--no-proxy-headers",
    ],
}
_PLENTY = {
    "--requests-per-minute": "1000000",
    "--tokens-per-minute": "10000000000",
    "--concurrent-calls": "100000",
    "--monthly-token-budget": "1000000000000",
}


@dataclass(frozen=True, slots=True)
class Bench:
    """Databases, an emulator and a key; `env` is what a server needs to know of them, as in production."""

    env: dict[str, str]
    key: str
    emulator_port: int
    stores: tuple[int, ...]  # PostgreSQL and Valkey, unless the environment names others


@dataclass(frozen=True, slots=True)
class Server:
    """A running server, and how many seconds it took until it answered."""

    process: psutil.Process
    port: int
    ready_after: float

    @property
    def cpu(self) -> float:
        """The CPU seconds it has used."""
        return float(sum(self.process.cpu_times()[:2]))

    @property
    def memory(self) -> float:
        """The memory it occupies, in MiB."""
        return float(self.process.memory_info().rss / 2**20)


@contextmanager
def bench() -> Iterator[Bench]:
    """Start databases that keep what they commit, and an emulator, and issue a key with plenty."""
    with Temporary(ROOT, is_durable=True) as temporary:
        temporary.start_databases()
        temporary.start_emulator()
        env = {**os.environ, **_production(), **temporary.env, "PYTHONPATH": str(ROOT / "platform")}
        databases.create_if_absent(env["DATABASE_URL"])
        for command in ("migrate", "load_skills", "load_prices"):
            _manage(env, command)
        stores = tuple(one.pid for one in (temporary.postgres, temporary.valkey) if one is not None)
        yield Bench(env, key(env, tenant="bench"), int(env["SKILLGATE_EMULATOR_URL"].rpartition(":")[2]), stores)


def key(env: dict[str, str], *, tenant: str) -> str:
    """Create a tenant with plenty of everything, and return a key of its own."""
    _manage(env, "create_tenant", "--slug", tenant, "--name", tenant, "--monthly-token-budget", "1000000000000")
    limits = [part for option in _PLENTY.items() for part in option]
    return _manage(env, "issue_key", "--tenant", tenant, "--name", "bench", *limits).strip().splitlines()[-1]


@contextmanager
def serving(argv: Sequence[str], env: dict[str, str], *, ready: str, program: str = sys.executable) -> Iterator[Server]:
    """Run a server until the block ends; `{port}` in `argv` is where it is to listen."""
    port = _free_port()
    with tempfile.NamedTemporaryFile("w+") as log:
        began = time.monotonic()
        command = [program, *(part.format(port=port) for part in argv)]
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=log)
        try:
            _wait(process, port, ready, log=Path(log.name))
            yield Server(psutil.Process(process.pid), port, time.monotonic() - began)
        finally:
            process.kill()
            process.wait()


def occupied(*pids: int) -> float:
    """Add up the memory of some processes and all that they started, in MiB; what they share counts once."""
    whole = 0
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            one = psutil.Process(pid)
            for process in (one, *one.children(recursive=True)):
                with suppress(psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
                    whole += process.memory_full_info().pss
    return float(whole / 2**20)


def machine() -> str:
    """Describe where the figures come from."""
    model = next(
        (line.split(":", 1)[1].strip() for line in _lines(Path("/proc/cpuinfo")) if line.startswith("model name")), "?"
    )
    load = os.getloadavg()[0]
    return f"{psutil.cpu_count()} cores of {model}, Python {sys.version.split()[0]}, load {load:.1f} at the start"


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def _production() -> dict[str, str]:
    return {
        "SKILLGATE_DEBUG": "0",
        "SKILLGATE_SECRET_KEY": secrets.token_urlsafe(64),
        "SKILLGATE_KEY_PEPPER": secrets.token_urlsafe(64),
        "SKILLGATE_FIELD_KEYS": secrets.token_urlsafe(64),
        "SKILLGATE_ALLOWED_HOSTS": "127.0.0.1",
        "SKILLGATE_BASE_URL": "https://127.0.0.1",
        "SKILLGATE_EMAIL_URL": "consolemail://",
        "SKILLGATE_TRUSTED_PROXIES": "10.0.0.0/8",
        "CELERY_BROKER_URL": "redis://127.0.0.1:1/0",
    }


def _manage(env: dict[str, str], *arguments: str) -> str:
    argv = [sys.executable, "manage.py", *arguments]
    done = subprocess.run(argv, check=False, cwd=ROOT, env=env, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"manage.py {arguments[0]} failed:\n{done.stderr}")
    return done.stdout


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _wait(process: subprocess.Popen[bytes], port: int, ready: str, *, log: Path) -> None:
    give_up = time.monotonic() + 120
    while time.monotonic() < give_up and process.poll() is None:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", ready)
            if connection.getresponse().status < 500:  # it may want a key
                return
        except (OSError, http.client.HTTPException):
            time.sleep(0.05)
    raise SystemExit(f"the server did not start:\n{log.read_text()}")
