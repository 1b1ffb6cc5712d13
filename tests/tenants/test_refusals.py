"""Refusals are counted per family, hour and reason, and written in batches."""

from datetime import UTC, datetime

import pytest

from kit import clock, pg
from kit.errors import RateLimited, Unavailable
from tenants import keys, limits
from tenants.limits import refusals
from tests.factories import make_key, make_tenant
from tests.tenants.callers import a_caller
from tests.tenants.wire import postgres_host

pytestmark = pytest.mark.django_db(transaction=True)
TEN = datetime(2026, 3, 1, 10, 59, 59, tzinfo=UTC)
ELEVEN = datetime(2026, 3, 1, 11, 0, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _nothing_counted() -> None:
    refusals._counted.clear()


async def caller() -> keys.Caller:
    issued = make_key(make_tenant(), requests_per_minute=1)
    return await keys.authenticate(issued.secret, address="192.0.2.1", now=clock.now())


async def written() -> list[tuple[int, datetime, str, int]]:
    rows = await pg.fetch_all("SELECT key_id, hour, reason, count FROM tenants_refusal ORDER BY hour, reason")
    return [(row["key_id"], row["hour"], row["reason"], row["count"]) for row in rows]


async def test_equal_refusals_add_up_over_flushes() -> None:
    who = await caller()
    for _ in range(3):
        refusals.count(who, reason="tokens_per_minute", now=TEN)
    await refusals.flush()
    refusals.count(who, reason="tokens_per_minute", now=TEN)
    refusals.count(who, reason="budget_month", now=TEN)
    refusals.count(who, reason="tokens_per_minute", now=ELEVEN)

    await refusals.flush()
    await refusals.flush()

    ten = TEN.replace(minute=0, second=0)
    assert await written() == [
        (who.family_id, ten, "budget_month", 1),
        (who.family_id, ten, "tokens_per_minute", 4),
        (who.family_id, ELEVEN, "tokens_per_minute", 1),
    ]


async def test_a_refused_take_is_counted() -> None:
    who = await caller()
    await limits.take(who, tokens=1, call_id="a")

    with pytest.raises(RateLimited):
        await limits.take(who, tokens=1, call_id="b")
    await refusals.flush()

    assert [(key, reason, count) for key, _, reason, count in await written()] == [
        (who.family_id, "requests_per_minute", 1)
    ]


async def test_counts_wait_for_the_database() -> None:
    who = await caller()
    refusals.count(who, reason="x", now=TEN)
    await pg.close()
    with postgres_host("/nonexistent"), pytest.raises(Unavailable):
        await refusals.flush()
    await pg.close()

    await refusals.flush()

    assert [count for *_, count in await written()] == [1]


async def test_a_key_that_is_not_there_is_dropped_without_harm_to_the_others() -> None:
    who = await caller()
    refusals.count(a_caller(), reason="x", now=TEN)
    refusals.count(who, reason="x", now=TEN)

    await refusals.flush()

    assert [key for key, *_ in await written()] == [who.family_id]
