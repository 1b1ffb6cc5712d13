"""Months and days of the tenant's zone by the database's clock; several budgets at once; increases that end."""

import asyncio
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from kit import clock
from kit.errors import BudgetExceeded
from tenants import budgets
from tenants.models import Budget
from tests.factories import make_key, outside_of_the_loop
from tests.usage.desk import Desk, account, caller_of, events, lapse, look, open_desk, settled
from usage import ledger, verification

SetClock = Callable[[str], None]


def limit(desk: Desk, **terms: Any) -> Budget:
    return outside_of_the_loop(lambda: budgets.set_budget(desk.tenant, now=clock.now(), **terms))


async def test_an_event_belongs_to_the_month_of_its_tenants_zone(prices: None, set_clock: SetClock) -> None:
    set_clock("2026-10-31 23:30:00+00")
    berlin, new_york = open_desk("berlin", timezone="Europe/Berlin"), open_desk("york", timezone="America/New_York")

    first, second = await berlin.reserve(10), await new_york.reserve(10)

    assert (first.month, second.month) == (date(2026, 11, 1), date(2026, 10, 1))
    assert (events(berlin)[0]["day"], events(new_york)[0]["day"]) == (date(2026, 11, 1), date(2026, 10, 31))


async def test_the_month_rolls_at_the_tenants_midnight_and_late_settlements_stay_in_theirs(
    prices: None, set_clock: SetClock
) -> None:
    set_clock("2026-10-31 22:59:59.999+00")
    desk = open_desk(tokens=100, timezone="Europe/Berlin")
    reservation = await desk.reserve(100)
    with pytest.raises(BudgetExceeded):
        await desk.reserve(1)

    set_clock("2026-10-31 23:00:00+00")
    fresh = await desk.reserve(100)
    await ledger.settle(reservation, settled(60))

    assert (reservation.month, fresh.month) == (date(2026, 10, 1), date(2026, 11, 1))
    months = look(
        "SELECT period, settled_tokens, reserved_tokens FROM usage_budgetaccount WHERE key_id IS NULL ORDER BY period"
    )
    assert [(row["settled_tokens"], row["reserved_tokens"]) for row in months] == [(60, 0), (0, 100)]


@pytest.mark.parametrize(
    ("zone", "last", "first", "day"),
    [
        ("Europe/Berlin", "2026-03-29 21:59:59+00", "2026-03-29 22:00:00+00", date(2026, 3, 29)),  # a day of 23 h
        ("Europe/Berlin", "2026-10-25 22:59:59+00", "2026-10-25 23:00:00+00", date(2026, 10, 25)),  # a day of 25 h
        ("Asia/Kolkata", "2026-06-30 18:29:59+00", "2026-06-30 18:30:00+00", date(2026, 6, 30)),
        ("Pacific/Apia", "2026-06-30 10:59:59+00", "2026-06-30 11:00:00+00", date(2026, 6, 30)),
    ],
)
async def test_days_end_at_local_midnight_also_when_clocks_change(
    prices: None, set_clock: SetClock, zone: str, last: str, first: str, day: date
) -> None:
    set_clock(last)
    desk = open_desk(timezone=zone)
    limit(desk, window="day", limit_tokens=100)
    await ledger.settle(await desk.reserve(100), settled(100))
    with pytest.raises(BudgetExceeded):
        await desk.reserve(1)

    set_clock(first)
    await desk.reserve(100)

    assert [event["day"] for event in events(desk)] == [day, day + timedelta(days=1)]


async def test_every_level_and_window_counts_and_only_its_own_scope(desk: Desk) -> None:
    for terms in (
        {"window": "day", "limit_tokens": 10_000},
        {"key": desk.key, "window": "day", "limit_tokens": 10_000},
        {"skill": "complete", "limit_tokens": 10_000},
        {"key": desk.key, "skill": "other", "limit_tokens": 10_000},
    ):
        limit(desk, **terms)
    second = caller_of(make_key(desk.tenant).key)

    await ledger.settle(await desk.reserve(100), settled(70))
    await ledger.settle(await desk.reserve(100, skill="other"), settled(5))
    await desk.reserve(30, caller=second)

    def held(**scope: str) -> tuple[int, int]:
        found = account(desk, **scope)
        return found["settled_tokens"], found["reserved_tokens"]

    assert held() == (75, 30)
    assert held(window="day") == (75, 30)
    assert held(owner="key") == (75, 0)
    assert held(owner="key", window="day") == (75, 0)
    assert held(skill="complete") == (70, 30)
    assert held(owner="key", skill="other") == (5, 0)


@pytest.mark.parametrize(
    "terms",
    [
        {"window": "day", "limit_tokens": 100},
        {"skill": "complete", "limit_tokens": 100},
        {"skill": "complete", "window": "day", "limit_micros": 500},
        {"limit_tokens": 10**9, "limit_micros": 500},
    ],
)
async def test_the_tightest_of_several_budgets_decides(desk: Desk, terms: dict[str, Any]) -> None:
    limit(desk, **terms)

    await desk.reserve(100)
    with pytest.raises(BudgetExceeded):
        await desk.reserve(1)

    assert len(events(desk)) == 1
    if terms.get("skill"):
        assert (await desk.reserve(1, skill="other")).number == 2


async def test_a_budget_made_in_the_middle_of_its_window_knows_what_was_used(desk: Desk) -> None:
    await ledger.settle(await desk.reserve(100), settled(60))
    await desk.reserve(30)
    limit(desk, window="day", limit_tokens=100)

    with pytest.raises(BudgetExceeded) as refused:
        await desk.reserve(11)
    await desk.reserve(10)

    assert (refused.value.details["used"], refused.value.details["reserved"]) == (60, 30)
    assert outside_of_the_loop(verification.verify).findings == []


async def test_a_budget_that_was_removed_and_set_again_has_forgotten_nothing(desk: Desk) -> None:
    daily = limit(desk, window="day", limit_tokens=100)
    await desk.reserve(60)
    outside_of_the_loop(lambda: budgets.remove(daily, now=clock.now()))
    await desk.reserve(300)
    limit(desk, window="day", limit_tokens=400)

    with pytest.raises(BudgetExceeded):
        await desk.reserve(41)
    await desk.reserve(40)

    assert outside_of_the_loop(verification.verify).findings == []


async def test_an_increase_holds_until_it_ends(prices: None, set_clock: SetClock) -> None:
    set_clock("2026-07-15 12:00:00+00")
    desk = open_desk(tokens=100)
    month = limit(desk, limit_tokens=100)
    now = datetime(2026, 7, 15, 12, tzinfo=UTC)
    outside_of_the_loop(
        lambda: budgets.increase(month, extra_tokens=50, ends_at=now + timedelta(hours=1), reason="fair", now=now)
    )

    await ledger.settle(await desk.reserve(120), settled(120))
    set_clock("2026-07-15 12:59:59+00")
    await desk.reserve(30)
    set_clock("2026-07-15 13:00:00+00")
    with pytest.raises(BudgetExceeded) as refused:
        await desk.reserve(1)

    assert (refused.value.details["cap"], refused.value.details["left"]) == (100, 0)


async def test_a_lowered_limit_stops_the_next_call_and_ends_none(desk: Desk) -> None:
    reservation = await desk.reserve(500)
    limit(desk, limit_tokens=100)

    with pytest.raises(BudgetExceeded):
        await desk.reserve(1)
    assert await ledger.settle(reservation, settled(400)) == "settled"


async def test_a_sweep_over_the_months_edge_books_into_the_month_of_the_event(
    prices: None, set_clock: SetClock
) -> None:
    set_clock("2026-10-31 23:59:30+00")
    desk = open_desk()
    await desk.reserve(100)

    set_clock("2026-11-01 00:00:31+00")
    assert await ledger.sweep() == 1

    assert events(desk)[0]["month"] == date(2026, 10, 1)
    assert [row["settled_tokens"] for row in look("SELECT settled_tokens FROM usage_budgetaccount")] == [100, 100]


async def test_first_calls_of_a_month_that_come_together_open_each_account_once(desk: Desk) -> None:
    await asyncio.gather(*(desk.reserve(10) for _ in range(20)))
    lapse(desk)

    assert len(look("SELECT id FROM usage_budgetaccount")) == 2
