"""`make run` as its user sees it, with small programs in the place of the web server, the worker and the emulator."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from embedded import places, waiting
from tests.embedded.conftest import empty_checkout, seed

STANDINS = Path(__file__).parent / "standins.py"
ROOT = Path(__file__).resolve().parents[2]
ELSEWHERE = ("DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL", "ANTHROPIC_API_KEY", "PORT", "SKILLGATE_BASE_URL")


class Terminal:
    """One `make run` in a checkout, and the processes that belong to it."""

    def __init__(self, checkout: Path, **env: str) -> None:
        self.checkout = checkout
        inherited = {name: value for name, value in os.environ.items() if name not in ELSEWHERE}
        self.output = checkout / f"output-{os.urandom(4).hex()}"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(STANDINS), "run", str(checkout)],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**inherited, "PYTHONPATH": str(ROOT / "platform"), **env},
                start_new_session=True,
            )

    def until_ready(self) -> "Terminal":
        ready = waiting.until(lambda: "Ctrl-C stops" in self.said() or self.process.poll() is not None, seconds=30)
        assert ready, self.said()
        assert self.process.poll() is None, self.said()
        return self

    def said(self) -> str:
        return self.output.read_text()

    def demo(self) -> dict[str, str]:
        demo: dict[str, str] = json.loads((self.checkout / ".local" / "demo.json").read_text())
        return demo

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def warden(self) -> psutil.Process | None:
        for child in self.family():
            with contextlib.suppress(psutil.Error):
                if any(part.endswith("warden.py") for part in child.cmdline()):
                    return child
        return None

    def role(self, name: str) -> psutil.Process:
        return next(child for child in self.family() if child.cmdline()[2:3] == [name])


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    with closing_all() as terminals:
        yield terminals


@contextlib.contextmanager
def closing_all() -> Iterator[list[Terminal]]:
    terminals: list[Terminal] = []
    try:
        yield terminals
    finally:
        for terminal in terminals:
            terminal.process.terminate()
            terminal.process.wait(30)


@pytest.fixture
def running(checkout: Path, cluster: Path, terminals: list[Terminal]) -> Terminal:
    """A run of this test's own, in a checkout where PostgreSQL ran before."""
    seed(places.of_checkout(checkout), cluster)
    terminals.append(Terminal(checkout))
    return terminals[0].until_ready()


@pytest.fixture(scope="module")
def lasting() -> Iterator[Terminal]:
    """A run in a bare checkout, for all who leave it as they found it."""
    with empty_checkout() as checkout, closing_all() as terminals:
        terminals.append(Terminal(checkout))
        yield terminals[0].until_ready()


def alive(processes: list[psutil.Process]) -> list[str]:
    left = []
    for process in processes:
        with contextlib.suppress(psutil.Error):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                left.append(" ".join(process.cmdline()))
    return left


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=5) as response:
        body: bytes = response.read()
    return body


def test_prints_and_writes_how_to_reach_it(lasting: Terminal) -> None:
    demo = lasting.demo()
    request = lasting.checkout / ".local" / "request.json"

    assert set(demo) == {
        "base_url",
        "api_key",
        "admin_url",
        "admin_user",
        "admin_password",
        "emulator_url",
        "bob_password",
        "starts",
    }
    assert demo["api_key"] == "sk-demo"
    for name in ("base_url", "api_key", "admin_url", "admin_user", "admin_password", "emulator_url"):
        assert demo[name] in lasting.said()
    assert f"curl -sS {demo['base_url']}/v1/skills/summarize" in lasting.said()
    assert f"@{request}" in lasting.said()
    assert json.loads(request.read_text())["input"]["text"]
    assert (lasting.checkout / ".local" / "demo.json").stat().st_mode & 0o077 == 0


def test_tells_its_processes_where_everything_is(lasting: Terminal) -> None:
    told = json.loads(fetch(f"{lasting.demo()['base_url']}/health/ready"))

    assert told["REDIS_URL"] == f"unix://{lasting.checkout}/.local/run/valkey.sock?db=1"
    assert told["ANTHROPIC_BASE_URL"] == lasting.demo()["emulator_url"]
    assert fetch(lasting.demo()["emulator_url"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_everything(running: Terminal, number: signal.Signals) -> None:
    family = running.family()
    assert len(family) > 10  # The worker's children and PostgreSQL's are among them.

    running.process.send_signal(number)

    assert running.process.wait(20) == 0
    assert alive(family) == []


def test_kill_9_leaves_nothing_behind(running: Terminal) -> None:
    family = running.family()

    running.process.kill()
    running.process.wait()

    waiting.until(lambda: not alive(family), seconds=15)
    assert alive(family) == []


def test_kill_9_leaves_nothing_behind_even_of_a_frozen_database(running: Terminal) -> None:
    family = running.family()
    postgres = next(child for child in family if child.name() == "postgres")
    for process in (*postgres.children(), postgres):
        process.suspend()

    running.process.kill()
    running.process.wait()

    waiting.until(lambda: not alive(family), seconds=15)
    assert alive(family) == []


def test_what_a_kill_of_the_warden_too_left_is_stopped_by_the_next_start(
    running: Terminal, terminals: list[Terminal]
) -> None:
    family = running.family()
    warden = running.warden()
    assert warden is not None
    running.process.send_signal(signal.SIGSTOP)
    warden.kill()
    running.process.kill()
    running.process.wait()
    assert alive(family) != []

    terminals.append(Terminal(running.checkout))
    terminals[-1].until_ready()

    assert alive(family) == []


def test_a_killed_warden_is_replaced(running: Terminal) -> None:
    first = running.warden()
    assert first is not None
    first.kill()
    assert waiting.until(lambda: running.warden() not in (None, first), seconds=5)
    family = running.family()

    running.process.kill()
    running.process.wait()

    waiting.until(lambda: not alive(family), seconds=15)
    assert alive(family) == []


def test_ends_with_the_process_that_started_it(checkout: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT / "platform"), "WITH_PARENT": "1"}
    for name in ELSEWHERE:
        env.pop(name, None)
    command = f"'{sys.executable}' '{STANDINS}' run '{checkout}' & wait"
    with subprocess.Popen(["/bin/sh", "-c", command], stdout=subprocess.DEVNULL, env=env) as shell:
        assert waiting.until((checkout / ".local" / "demo.json").exists, seconds=30)
        family = psutil.Process(shell.pid).children(recursive=True)
        shell.kill()

    waiting.until(lambda: not alive(family), seconds=20)
    assert alive(family) == []


def test_a_second_run_in_the_checkout_is_refused_and_harms_nothing(lasting: Terminal) -> None:
    second = Terminal(lasting.checkout)

    assert second.process.wait(10) == 1
    assert f"already runs in this checkout (process {lasting.process.pid})" in second.said()
    assert fetch(f"{lasting.demo()['base_url']}/health/ready")


def test_two_runs_that_start_at_once_have_a_port_each(checkout: Path, terminals: list[Terminal]) -> None:
    for name in ("one", "other"):
        (checkout / name).mkdir()
        terminals.append(Terminal(checkout / name))

    ports = [terminal.until_ready().demo()["base_url"] for terminal in terminals]
    told = [json.loads(fetch(f"{url}/health/ready"))["REDIS_URL"] for url in ports]

    assert told == [f"unix://{checkout}/{name}/.local/run/valkey.sock?db=1" for name in ("one", "other")]


def test_what_dies_is_started_again_and_said(lasting: Terminal) -> None:
    web, emulator = lasting.role("web"), lasting.role("emulator")
    urls, times_before = lasting.demo(), lasting.said().count("web ended unexpectedly")

    web.kill()
    emulator.kill()

    assert waiting.until(lambda: lasting.said().count("web ended unexpectedly") > times_before, seconds=5)
    assert waiting.until(lambda: _answers(urls["base_url"]) and _answers(urls["emulator_url"]), seconds=10)
    assert lasting.process.poll() is None


def test_a_database_that_is_killed_comes_back(running: Terminal) -> None:
    postgres = next(child for child in running.family() if child.name() == "postgres")

    postgres.kill()

    assert waiting.until(lambda: "PostgreSQL ended unexpectedly" in running.said(), seconds=5)
    assert waiting.until(lambda: "postgres" in [child.name() for child in running.family()], seconds=5)


def test_what_will_not_stay_alive_ends_the_run_with_its_last_words(checkout: Path) -> None:
    terminal = Terminal(checkout, WORKER="broken")
    family: list[psutil.Process] = []
    while terminal.process.poll() is None:
        with contextlib.suppress(psutil.Error):
            family = terminal.family() or family
        time.sleep(0.02)

    assert terminal.process.returncode == 1
    assert "worker does not stay alive" in terminal.said()
    assert "I cannot work like this." in terminal.said()
    assert alive(family) == []
    assert not (checkout / ".local" / "demo.json").exists()


def test_data_is_kept_from_run_to_run(running: Terminal, terminals: list[Terminal]) -> None:
    running.process.terminate()
    running.process.wait(20)

    terminals.append(Terminal(running.checkout))
    terminals[-1].until_ready()

    assert '"starts": 2' in (running.checkout / ".local" / "log" / "prepare.log").read_text()


def test_given_servers_are_used_and_none_started(lasting: Terminal, checkout: Path, terminals: list[Terminal]) -> None:
    given = {
        "DATABASE_URL": f"postgres://postgres@{str(lasting.checkout / '.local/run/pg').replace('/', '%2F')}/another",
        "REDIS_URL": f"unix://{lasting.checkout}/.local/run/valkey.sock?db=9",
        "ANTHROPIC_API_KEY": "sk-ant-test",
    }
    terminals.append(Terminal(checkout, **given))

    terminals[-1].until_ready()

    assert not (checkout / ".local" / "pg").exists()
    assert not (checkout / ".local" / "valkey").exists()
    assert terminals[-1].demo()["emulator_url"] is None
    assert "calls cost money" in terminals[-1].said()


def test_a_given_database_that_does_not_answer_is_named_without_its_password(checkout: Path) -> None:
    terminal = Terminal(checkout, DATABASE_URL="postgres://u:hush@127.0.0.1:1/x")

    assert terminal.process.wait(30) == 1
    assert "DATABASE_URL cannot be used" in terminal.said()
    assert "hush" not in terminal.said()


def _answers(url: str) -> bool:
    try:
        return bool(fetch(url))
    except OSError:
        return False
