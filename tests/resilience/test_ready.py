"""The first request of a call is made ready while its reservation is under way; only a committed one sends it."""

import asyncio

import psycopg
import pytest

from kit import pg
from kit.errors import BudgetExceeded
from skills.claude import client
from skills.claude.provider import of
from tests.resilience.bench import Bench, assert_books_agree, events, journal, marker
from tests.usage.desk import caller_of, open_desk


def _connections_held(bench: Bench) -> int:
    sdk = client.at_hand(of(bench.caller))
    assert sdk is not None
    return len(sdk._sender._connector._acquired)


async def _one_is_ready(bench: Bench) -> None:
    for _ in range(1_000):
        if _connections_held(bench):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("no request was made ready")


@pytest.fixture
def poor(bench: Bench) -> Bench:
    """Another tenant, whose budget is next to nothing."""
    return Bench(caller_of(open_desk("poor", tokens=200).key))


async def test_a_call_that_is_refused_when_its_request_is_ready_sends_nothing(bench: Bench, poor: Bench) -> None:
    await bench.ask("Hello")
    billed = len(journal())

    with pytest.raises(BudgetExceeded):
        await poor.start(f"Hello {marker()}", max_tokens=5_000)

    assert _connections_held(bench) == 0
    assert len(journal()) == billed
    assert len(await events()) == 1


async def test_a_call_that_is_cancelled_when_its_request_is_ready_sends_nothing(bench: Bench) -> None:
    await bench.ask("Hello")
    billed = len(journal())
    async with await psycopg.AsyncConnection.connect(**pg.conninfo()) as other:
        await other.execute("LOCK TABLE usage_event IN ACCESS EXCLUSIVE MODE")
        starting = asyncio.create_task(bench.start(f"Hello {marker()}"))
        await _one_is_ready(bench)

        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting

        assert _connections_held(bench) == 0
    assert len(journal()) == billed
    await assert_books_agree()


async def test_calls_one_after_the_other_go_by_one_connection(bench: Bench) -> None:
    for _ in range(3):
        await bench.ask(f"Hello {marker()}")

    sdk = client.at_hand(of(bench.caller))
    assert sdk is not None
    assert [len(kept) for kept in sdk._sender._connector._conns.values()] == [1]
    assert [row["state"] for row in await events()] == ["settled"] * 3
