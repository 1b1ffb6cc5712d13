"""Statements on kept connections: what they answer, refuse and survive."""

import asyncio

import psycopg
import pytest
from psycopg.rows import DictRow
from pytest_django import Settings

from kit import clock, pg
from kit.errors import Unavailable
from kit.statements import Statement

pytestmark = pytest.mark.django_db(transaction=True)

HALF = Statement(b"test_half", b"SELECT $1::integer / $2::integer AS half, length($3) AS characters")
BACKEND = Statement(b"test_backend", b"SELECT pg_backend_pid() AS pid")
SLEEP = Statement(b"test_sleep", b"SELECT pg_sleep($1::float8)")


@pytest.fixture(autouse=True, params=[1, 4], ids=["from the pool", "at hand"])
def connections(request: pytest.FixtureRequest, settings: Settings) -> None:
    """Of one connection none is kept at hand, of four one."""
    settings.POOL_MAX_CONNECTIONS = request.param


async def backend() -> int:
    return int((await pg.ask(BACKEND))[0]["pid"])


async def end(pid: int) -> None:
    async with await psycopg.AsyncConnection.connect(**pg.conninfo(), autocommit=True) as other:
        await other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])


async def test_rows_are_dicts_of_python_values_and_other_statements_go_between() -> None:
    for number in (10, 20):
        assert await pg.ask(HALF, str(number).encode(), b"2", b"abc") == [{"half": number // 2, "characters": 3}]
        assert await pg.fetch_one("SELECT %s::text AS said", ["x"]) == {"said": "x"}


async def test_a_refusal_has_its_class_and_the_connection_stays() -> None:
    pid = await backend()
    with pytest.raises(psycopg.errors.DivisionByZero):
        await pg.ask(HALF, b"1", b"0", b"")
    with pytest.raises(psycopg.errors.InvalidTextRepresentation):
        await pg.ask(HALF, b"one", b"1", b"")

    assert await pg.ask(HALF, b"4", b"2", b"") == [{"half": 2, "characters": 0}]
    assert await backend() == pid


async def test_more_than_a_socket_takes_at_once_arrives_whole() -> None:
    assert await pg.ask(HALF, b"4", b"2", b"x" * 20_000_000) == [{"half": 2, "characters": 20_000_000}]


async def test_a_connection_that_ends_between_statements_is_replaced_unseen() -> None:
    pid = await backend()
    await pg.ask(HALF, b"4", b"2", b"")
    await end(pid)

    assert await pg.ask(HALF, b"4", b"2", b"") == [{"half": 2, "characters": 0}]
    assert await backend() != pid


async def test_connections_that_end_between_other_statements_are_replaced_unseen() -> None:
    """All that the pool has idle: those that were watched for a statement, and those that never were."""

    async def pid() -> int:
        row = await pg.fetch_one("SELECT pg_backend_pid() AS pid, pg_sleep(0.2)")
        return int(row["pid"]) if row else 0

    before = {await backend(), *await asyncio.gather(pid(), pid())}
    for one in before:
        await end(one)

    assert not before & {await pid(), await backend(), *await asyncio.gather(pid(), pid())}


async def test_a_connection_that_ends_during_a_statement_is_replaced() -> None:
    pid = await backend()
    asking = asyncio.create_task(pg.ask(SLEEP, b"30"))
    await asyncio.sleep(0.1)
    await end(pid)

    with pytest.raises(Unavailable) as lost:
        await asyncio.wait_for(asking, 5)
    assert isinstance(lost.value.__cause__, psycopg.OperationalError)
    assert await pg.ask(HALF, b"4", b"2", b"") == [{"half": 2, "characters": 0}]


async def test_who_is_cancelled_takes_the_statement_along() -> None:
    pid = await backend()
    asking = asyncio.create_task(pg.ask(SLEEP, b"30"))
    await asyncio.sleep(0.1)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking

    assert await pg.ask(HALF, b"4", b"2", b"") == [{"half": 2, "characters": 0}]
    found = await pg.fetch_all("SELECT 1 FROM pg_stat_activity WHERE pid = %s AND state = 'active'", [pid])
    assert found == []


async def test_a_connection_is_at_hand_for_a_minute(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    now = clock.monotonic()
    monkeypatch.setattr(clock, "monotonic", lambda: now)
    pids = {await backend() for _ in range(3)}
    kept = len(pg._own.here().at_hand)
    assert (len(pids), kept) == (1, settings.POOL_MAX_CONNECTIONS // 4)

    now += 60
    await backend()

    assert pg._own.here().at_hand == []


async def test_what_is_asked_while_the_pool_is_closed_leaves_nothing_behind() -> None:
    pid = await backend()
    asking = asyncio.create_task(pg.ask(SLEEP, b"0.3"))
    await asyncio.sleep(0.1)
    await pg.close()

    assert len(await asking) == 1
    assert pg._own.here().at_hand == []
    found = await pg.fetch_all("SELECT 1 FROM pg_stat_activity WHERE pid = %s", [pid])
    assert found == []


async def test_two_at_once_have_a_connection_each(settings: Settings) -> None:
    settings.POOL_MAX_CONNECTIONS = 4

    found = await asyncio.gather(*(pg.ask(SLEEP, b"0.2") for _ in range(4)), return_exceptions=True)

    assert [type(one) for one in found] == [list] * 4
    assert len(pg._own.here().at_hand) == 1


Said = list[DictRow] | Exception


def asked_at_once(statement: Statement, *parameters: bytes) -> "asyncio.Future[Said] | None":
    answer: asyncio.Future[Said] = asyncio.get_running_loop().create_future()
    return answer if pg.ask_at_once(statement, *parameters, told=answer.set_result) else None


async def said_at_once(statement: Statement, *parameters: bytes) -> Said:
    answer = asked_at_once(statement, *parameters)
    assert answer is not None
    return await asyncio.wait_for(answer, 5)


@pytest.fixture
def at_hand(settings: Settings) -> None:
    settings.POOL_MAX_CONNECTIONS = 4


@pytest.mark.usefixtures("at_hand")
async def test_at_once_goes_what_a_connection_at_hand_was_asked_before() -> None:
    assert asked_at_once(HALF, b"4", b"2", b"") is None  # no connection
    await pg.ask(BACKEND)
    assert asked_at_once(HALF, b"4", b"2", b"") is None  # not prepared there
    await pg.ask(HALF, b"4", b"2", b"")

    assert await said_at_once(HALF, b"4", b"2", b"") == [{"half": 2, "characters": 0}]
    assert await said_at_once(HALF, b"6", b"2", b"x" * 20_000_000) == [{"half": 3, "characters": 20_000_000}]
    assert isinstance(await said_at_once(HALF, b"4", b"0", b""), psycopg.errors.DivisionByZero)
    busy = asked_at_once(HALF, b"4", b"2", b"")
    assert asked_at_once(HALF, b"4", b"2", b"") is None  # the one at hand is asked already
    assert busy is not None
    await busy
    assert len(pg._own.here().at_hand) == 1
    assert pg._own.here().asked == {}


@pytest.mark.usefixtures("at_hand")
async def test_what_was_asked_at_once_hears_that_the_server_is_gone() -> None:
    await pg.ask(SLEEP, b"0")
    pid = await backend()
    answer = asked_at_once(SLEEP, b"30")
    await end(pid)

    assert answer is not None
    lost = await asyncio.wait_for(answer, 5)
    assert isinstance(lost, Unavailable)
    assert isinstance(lost.__cause__, psycopg.OperationalError)
    assert await backend() != pid


@pytest.mark.usefixtures("at_hand")
async def test_a_connection_that_ended_is_not_asked_at_once() -> None:
    pid = await backend()
    await end(pid)
    await asyncio.sleep(0.1)

    assert asked_at_once(BACKEND) is None
    assert await backend() != pid


@pytest.mark.usefixtures("at_hand")
async def test_what_was_asked_at_once_hears_that_the_pool_is_closed_and_leaves_nothing_behind() -> None:
    await pg.ask(SLEEP, b"0")
    pid = await backend()
    answer = asked_at_once(SLEEP, b"0.3")
    await pg.close()

    assert answer is not None
    assert isinstance(await asyncio.wait_for(answer, 5), Unavailable)
    await asyncio.sleep(0.5)
    assert await pg.fetch_all("SELECT 1 FROM pg_stat_activity WHERE pid = %s", [pid]) == []
