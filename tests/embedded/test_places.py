import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from embedded import lock, places, ports
from embedded.child import StartError
from embedded.postgres import FAST_SETTINGS, Postgres
from embedded.valkey import Valkey
from embedded.warden import Warden

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives way to another user")


def test_everything_of_an_ordinary_checkout_is_in_its_own_folder(checkout: Path) -> None:
    where = places.of_checkout(checkout)

    assert where.home == where.data == checkout / ".local"
    assert where.sockets == checkout / ".local" / "run"
    assert places.outside(checkout) == []


@pytest.mark.parametrize("name", ["x" * 100, "with spaces & percent %41", "ümlaut"])
def test_sockets_of_a_long_or_odd_path_are_in_a_private_folder_elsewhere(
    checkout: Path, name: str, warden: Warden
) -> None:
    root = checkout / name
    root.mkdir()

    where = places.of_checkout(root)
    postgres, valkey = Postgres(where, warden=warden, settings=FAST_SETTINGS), Valkey(where, warden=warden)

    try:
        postgres.start()
        valkey.start()
        assert where.data == root / ".local"
        assert places.outside(root) == [where.sockets]
        assert where.sockets.stat().st_mode & 0o022 == 0
    finally:
        postgres.stop()
        valkey.stop()
        for folder in places.outside(root):
            shutil.rmtree(folder)


@only_root
def test_data_of_a_checkout_that_only_root_can_enter_is_where_postgres_can_walk(checkout: Path, warden: Warden) -> None:
    root = checkout / "private" / "work"
    root.mkdir(parents=True)
    root.parent.chmod(0o700)

    where = places.of_checkout(root)
    postgres = Postgres(where, warden=warden, settings=FAST_SETTINGS)
    try:
        postgres.start()
        assert places.is_reachable(where.data)
        assert not where.data.is_relative_to(root)
        assert root.parent.stat().st_mode & 0o777 == 0o700
    finally:
        postgres.stop()
        for folder in places.outside(root):
            shutil.rmtree(folder)


def plant_link(path: Path) -> None:
    (path.parent / "elsewhere").mkdir()
    path.symlink_to(path.parent / "elsewhere")


def plant_open_folder(path: Path) -> None:
    path.mkdir()
    path.chmod(0o777)


def plant_file(path: Path) -> None:
    path.write_text("")


@pytest.mark.parametrize("plant", [plant_link, plant_open_folder, plant_file])
def test_a_folder_that_someone_else_could_write_is_refused(checkout: Path, plant: Callable[[Path], None]) -> None:
    (checkout / ".local").mkdir()
    plant(checkout / ".local" / "run")

    with pytest.raises(places.PlaceError, match="remove it"):
        places.of_checkout(checkout)


def test_the_lock_is_refused_while_it_is_held_and_free_afterwards(tmp_path: Path) -> None:
    refusal = pytest.raises(lock.LockedError, match=f"process {os.getpid()}")
    with lock.hold(tmp_path / "lock"), refusal, lock.hold(tmp_path / "lock"):
        pass

    with lock.hold(tmp_path / "lock"):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_the_next_free_port_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as first:
        port = first.getsockname()[1]
        monkeypatch.setattr(ports, "FIRST", port)

        with ports.hold(None) as held, ports.hold(None) as other:
            assert port < held.getsockname()[1] < other.getsockname()[1]


def test_a_port_that_was_asked_for_is_used_or_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(StartError, match=f"Port {port} is taken"):
            ports.hold(str(port))

    with ports.hold(str(port)) as held:
        assert held.getsockname() == ("127.0.0.1", port)
        with pytest.raises(StartError, match=f"Port {port} is taken"):
            ports.hold(str(port))


@pytest.mark.parametrize("wanted", ["0", "65536", "http", "-1", "80.0", "٣"])
def test_a_port_that_is_no_port_is_refused(wanted: str) -> None:
    with pytest.raises(StartError, match="PORT must be a number"):
        ports.hold(wanted)
