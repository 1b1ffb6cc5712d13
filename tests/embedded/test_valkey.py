from collections.abc import Callable

import psutil
import pytest
import redis

from embedded.databases import broker_url, redis_url
from embedded.places import Places
from embedded.valkey import Valkey
from embedded.warden import Warden


@pytest.fixture
def filled(valkey: Valkey) -> Valkey:
    valkey.start()
    with redis.Redis.from_url(valkey.url()) as connection:
        connection.set("kept", "42")
    return valkey


def kept(valkey: Valkey) -> bytes | None:
    with redis.Redis.from_url(valkey.url()) as connection:
        value = connection.get("kept")
    assert value is None or isinstance(value, bytes)
    return value


def test_listens_on_a_socket_alone_and_keeps_databases_apart(filled: Valkey) -> None:
    with redis.Redis.from_url(filled.url()) as ours, redis.Redis.from_url(filled.url(database=63)) as other:
        assert ours.config_get("port") == {"port": "0"}
        assert other.dbsize() == 0


@pytest.mark.parametrize("ending", [Valkey.stop, Valkey.restart])
def test_data_survives_a_stop(filled: Valkey, ending: Callable[[Valkey], None]) -> None:
    ending(filled)

    filled.start()

    assert kept(filled) == b"42"


def test_data_on_disk_survives_a_kill(filled: Valkey) -> None:
    with redis.Redis.from_url(filled.url()) as connection:
        connection.execute_command("WAITAOF", 1, 0, 5000)
    filled.kill()
    assert filled.socket.exists()

    filled.start()

    assert kept(filled) == b"42"


def test_a_server_that_outlived_its_supervisor_is_stopped_first(filled: Valkey, where: Places, warden: Warden) -> None:
    orphan = psutil.Process(filled.pid)
    successor = Valkey(where, warden=warden)

    successor.start()

    assert not filled.is_alive
    assert not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE
    assert kept(successor) == b"42"
    successor.stop()


@pytest.mark.parametrize(
    ("cache", "broker"),
    [
        ("unix:///run/v.sock?db=1", "redis+socket:///run/v.sock?virtual_host=3"),
        ("redis://cache:6379/0", "redis://cache:6379/3"),
        ("redis://cache:6379", "redis://cache:6379/3"),
        ("redis://cache:6379/3", "redis://cache:6379/4"),
        ("rediss://u:p@cache/0?ssl_cert_reqs=required", "rediss://u:p@cache/3?ssl_cert_reqs=required"),
    ],
)
def test_the_broker_is_another_database_of_the_same_redis(cache: str, broker: str) -> None:
    assert broker_url(cache) == broker


def test_a_numbered_database_keeps_the_rest_of_the_url() -> None:
    assert redis_url("unix:///run/v.sock?db=1", database=7) == "unix:///run/v.sock?db=7"
    assert redis_url("rediss://u:p@h:1/0?a=b", database=7) == "rediss://u:p@h:1/7?a=b"
