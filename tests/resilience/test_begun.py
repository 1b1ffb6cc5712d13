"""A call that the rate limits will hardly refuse is begun while they are asked, and undone if they refuse after all."""

import asyncio
from collections.abc import Iterator

import pytest
from pytest_django import Settings

from kit import pg
from kit.errors import RateLimited, Unavailable, UpstreamOverloaded
from tenants.limits import shared
from tenants.limits.verdicts import Allowance
from tests.resilience.bench import Bench, assert_books_agree, events, journal, marker, strike
from tests.tenants.conftest import use
from tests.tenants.valkey import Valkey
from usage import ledger

RESERVED = (
    "SELECT sum(reserved_tokens)::bigint AS tokens, sum(reserved_micros)::bigint AS micros FROM usage_budgetaccount"
)


@pytest.fixture
def valkey(settings: Settings) -> Iterator[Valkey]:
    """A Redis of this test's own, which may answer as late as the test wants."""
    server = Valkey()
    server.start()
    use(server, settings)
    settings.LIMITS_TIMEOUT_SECONDS = 20
    yield server
    server.close()


async def take_all_elsewhere(bench: Bench) -> None:
    """Use the limits up as another process would: this one does not hear of it."""
    caller = bench.caller
    allowance = Allowance(caller.requests_per_minute, caller.tokens_per_minute, caller.concurrent_calls)
    for number in range(caller.concurrent_calls):
        verdict = await shared.take(caller.family_id, allowance=allowance, tokens=0, call_id=f"elsewhere {number}")
        assert verdict.is_admitted


async def opened() -> list[str]:
    return [row["state"] for row in await pg.fetch_all("SELECT state FROM usage_event ORDER BY number")]


async def until_opened(*, count: int) -> None:
    for _ in range(1_000):
        if len(await opened()) == count:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(await opened())


async def test_a_reservation_is_made_while_the_limits_are_asked_and_nothing_is_sent(
    bench: Bench, valkey: Valkey
) -> None:
    await bench.ask("Hello")
    billed = len(journal())
    valkey.stall()
    asking = asyncio.create_task(bench.ask(f"Hello {marker()}"))

    await until_opened(count=2)

    assert await opened() == ["settled", "open"]
    assert len(journal()) == billed
    valkey.go_on()
    await asking
    assert len(journal()) == billed + 1
    assert await opened() == ["settled", "settled"]
    await assert_books_agree()


async def test_a_call_that_is_refused_after_all_has_sent_nothing_and_holds_nothing(bench: Bench) -> None:
    await bench.ask("Hello")
    billed = len(journal())
    await take_all_elsewhere(bench)

    with pytest.raises(RateLimited) as raised:
        await bench.ask(f"Hello {marker()}")

    assert raised.value.details["reason"] == "concurrent_calls"
    await until_opened(count=2)
    assert [row["state"] for row in await events()] == ["settled", "released"]
    assert await pg.fetch_all(RESERVED) == [{"tokens": 0, "micros": 0}]
    assert len(journal()) == billed
    await assert_books_agree()


async def test_a_call_that_is_cancelled_while_the_limits_are_asked_holds_nothing(bench: Bench, valkey: Valkey) -> None:
    await bench.ask("Hello")
    billed = len(journal())
    valkey.stall()
    asking = asyncio.create_task(bench.ask(f"Hello {marker()}"))
    await until_opened(count=2)

    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking

    valkey.go_on()
    assert [row["state"] for row in await events()] == ["settled", "released"]
    assert await pg.fetch_all(RESERVED) == [{"tokens": 0, "micros": 0}]
    assert len(journal()) == billed


async def test_without_news_of_the_limits_nothing_is_begun(bench: Bench) -> None:
    await take_all_elsewhere(bench)

    for _ in range(3):
        with pytest.raises(RateLimited):
            await bench.ask(f"Hello {marker()}")

    await ledger.drain()
    assert await opened() == []


async def test_a_call_whose_model_is_held_back_is_not_begun(bench: Bench, settings: Settings) -> None:
    settings.CLAUDE_BREAKER_FAILURES, settings.CLAUDE_BREAKER_SECONDS, settings.CLAUDE_ATTEMPTS = 1, 20.0, 1
    await bench.ask("Hello")
    mark = marker()
    strike("http_529", mark, count=1)
    with pytest.raises(UpstreamOverloaded):
        await bench.ask(f"Hello {mark}")
    seen = len(await opened())

    with pytest.raises(Unavailable):
        await bench.ask(f"Hello {marker()}")

    assert len(await opened()) == seen
