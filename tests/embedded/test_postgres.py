import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from embedded import databases, places
from embedded.child import StartError
from embedded.postgres import FAST_SETTINGS, Postgres
from embedded.warden import Warden
from tests.embedded.conftest import seed


def connect(postgres: Postgres) -> psycopg.Connection:
    return psycopg.connect(postgres.url().replace("postgres://", "postgresql://"), autocommit=True, connect_timeout=2)


@pytest.fixture
def filled(postgres: Postgres, where: places.Places, cluster: Path) -> Postgres:
    """A running server on which something was committed."""
    seed(where, cluster)
    postgres.start()
    databases.create_if_absent(postgres.url())
    with connect(postgres) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS value")
    return postgres


def kept(postgres: Postgres) -> int:
    with connect(postgres) as connection:
        row = connection.execute("SELECT value FROM kept").fetchone()
    assert row is not None
    return int(row[0])


def test_starts_on_a_socket_alone_with_unicode_and_room_for_connections(filled: Postgres) -> None:
    with connect(filled) as connection:
        settings = {
            name: connection.execute("SELECT current_setting(%s)", [name]).fetchone()
            for name in ("listen_addresses", "max_connections", "server_encoding", "synchronous_commit")
        }

    assert settings == {
        "listen_addresses": ("",),
        "max_connections": ("200",),
        "server_encoding": ("UTF8",),
        "synchronous_commit": ("on",),
    }


def test_stop_leaves_no_process(filled: Postgres) -> None:
    family = [psutil.Process(filled.pid), *psutil.Process(filled.pid).children(recursive=True)]

    filled.stop()

    assert not any(process.is_running() for process in family)
    assert not (filled.data / "postmaster.pid").exists()


@pytest.mark.parametrize("ending", [Postgres.stop, Postgres.kill])
def test_what_was_committed_survives(filled: Postgres, ending: Callable[[Postgres], None]) -> None:
    ending(filled)

    filled.start()

    assert kept(filled) == 42


def test_kill_and_start_again_do_not_trip_over_the_last_backends(filled: Postgres) -> None:
    for _ in range(3):
        with connect(filled):
            filled.kill()
            filled.start()

    assert kept(filled) == 42


def test_a_paused_server_does_not_answer_until_it_is_resumed(filled: Postgres) -> None:
    filled.pause()
    with pytest.raises(psycopg.OperationalError):
        connect(filled)

    filled.resume()

    assert kept(filled) == 42


def test_a_paused_server_can_be_stopped(filled: Postgres) -> None:
    filled.pause()

    filled.stop()

    assert not filled.is_alive


@pytest.fixture
def zombie() -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-c", ""])
    while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
        pass
    yield process.pid
    process.wait()


def dead() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        return process.pid


@pytest.mark.parametrize("named", ["dead", "zombie", "stranger", "nonsense"])
def test_a_pid_file_that_names_no_server_of_ours_does_not_matter(filled: Postgres, zombie: int, named: str) -> None:
    filled.kill()
    pid = {"dead": str(dead()), "zombie": str(zombie), "stranger": str(os.getpid()), "nonsense": "x"}[named]
    (filled.data / "postmaster.pid").write_text(f"{pid}\n{filled.data}\n")
    (filled.sockets / ".s.PGSQL.5432.lock").write_text(f"{pid}\n")

    filled.start()

    assert kept(filled) == 42
    assert psutil.pid_exists(os.getpid())


@pytest.mark.parametrize("is_paused", [False, True])
def test_a_server_that_outlived_its_supervisor_is_stopped_first(
    filled: Postgres, where: places.Places, warden: Warden, is_paused: bool
) -> None:
    orphan = filled.pid
    if is_paused:
        filled.pause()
    successor = Postgres(where, warden=warden, settings=FAST_SETTINGS)

    successor.start()

    assert not filled.is_alive
    assert successor.pid != orphan
    assert kept(successor) == 42
    successor.stop()


def test_an_interrupted_creation_is_begun_again(postgres: Postgres) -> None:
    unfinished = postgres.data.with_name("pg-unfinished")
    unfinished.mkdir()
    (unfinished / "PG_VERSION").write_text("18\n")

    postgres.start()

    assert postgres.is_ready()
    assert not unfinished.exists()


def test_data_of_another_version_is_refused_and_not_touched(postgres: Postgres) -> None:
    postgres.data.mkdir()
    (postgres.data / "PG_VERSION").write_text("16\n")

    with pytest.raises(StartError, match="PostgreSQL 16"):
        postgres.start()

    assert [path.name for path in postgres.data.iterdir()] == ["PG_VERSION"]


def test_a_server_that_cannot_start_says_why(filled: Postgres, where: places.Places, warden: Warden) -> None:
    filled.stop()
    broken = Postgres(where, warden=warden, settings={"max_connections": "many"})

    with pytest.raises(StartError, match='invalid value for parameter "max_connections": "many"'):
        broken.start()

    assert not broken.is_alive


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives way to another user")
def test_root_gives_way_to_an_unprivileged_user(filled: Postgres) -> None:
    assert psutil.Process(filled.pid).uids().effective != 0
    assert psutil.Process(filled.pid).uids().real != 0


def test_a_signal_to_our_own_group_does_not_reach_it(filled: Postgres) -> None:
    assert os.getpgid(filled.pid) == filled.pid
    assert os.getsid(filled.pid) != os.getsid(0)
    assert filled.stop_signal == signal.SIGINT
