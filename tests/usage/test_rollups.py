"""Rollups equal the events, whatever came between, and can be made anew from them."""

import asyncio
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

from django.db import connections

from kit import pg
from tests.factories import outside_of_the_loop
from tests.usage.desk import Desk, closing_pool, do, lapse, look, open_desk, settled
from usage import ledger, rollups, tasks

SetClock = Callable[[str], None]


def run(work: Any) -> None:
    asyncio.run(closing_pool(work))


def use(desk: Desk, *sizes: int) -> None:
    async def work() -> None:
        for size in sizes:
            await ledger.settle(await desk.reserve(size), settled(size))

    run(work)


def refresh_and_disconnect() -> None:
    try:
        rollups.refresh()
    finally:
        connections.close_all()


def totals() -> list[dict[str, Any]]:
    return look("SELECT * FROM usage_dailyusage ORDER BY tenant_id, day, skill, model")


def test_a_refresh_sums_the_closed_events_of_changed_days(prices: None, set_clock: SetClock) -> None:
    set_clock("2026-07-15 12:00:00+00")
    desk = open_desk()

    async def work() -> None:
        await ledger.settle(await desk.reserve(100), settled(30))
        await ledger.settle(await desk.reserve(100), settled(20, error_type="upstream_broken"))
        await ledger.settle(await desk.reserve(100), ledger.Closing("released", error_type="overloaded_error"))
        await desk.reserve(40, skill="other")
        lapse(desk)
        await ledger.sweep()
        await desk.reserve(7)

    run(work)
    assert rollups.refresh() == 1
    assert rollups.refresh() == 0

    complete, other = totals()
    assert (complete["day"], complete["skill"], complete["key_id"]) == (date(2026, 7, 15), "complete", desk.key.pk)
    assert [complete[name] for name in ("calls", "errors", "estimated_calls")] == [3, 2, 0]
    assert [complete[name] for name in ("input_tokens", "charged_tokens", "cost_micros")] == [50, 50, 50]
    assert [other[name] for name in ("calls", "estimated_calls", "charged_tokens", "estimated_micros")] == [
        1,
        1,
        40,
        200,
    ]
    assert rollups.check() == []


def test_a_late_settlement_comes_into_the_rollup_of_its_day(prices: None, set_clock: SetClock) -> None:
    set_clock("2026-07-15 12:00:00+00")
    desk = open_desk()

    async def work() -> None:
        late = await desk.reserve(100)
        lapse(desk)
        await ledger.sweep()
        outside_of_the_loop(rollups.refresh)
        set_clock("2026-07-17 12:00:00+00")
        await ledger.settle(late, settled(25))

    run(work)
    tasks.refresh_rollups()

    (row,) = totals()
    assert (row["day"], row["charged_tokens"], row["estimated_calls"]) == (date(2026, 7, 15), 25, 0)
    assert rollups.check() == []


def test_a_settlement_that_commits_while_its_day_is_rolled_is_not_missed(prices: None) -> None:
    """A rollup that was computed before a settlement committed must leave the day to be rolled again."""
    desk = open_desk()

    async def work() -> None:
        await ledger.settle(await desk.reserve(10), settled(10))
        second = await desk.reserve(5)
        async with pg.connection() as connection, connection.transaction():
            await connection.execute(
                "SELECT usage_close(ARRAY[(1, %s, %s, %s, 'settled', 5, 0, 0, 0, 0, 5, '', '', '', '', NULL, NULL, false)::usage_closing])",
                (second.event_id, second.month, desk.tenant.pk),
            )
            rolling = asyncio.create_task(asyncio.to_thread(refresh_and_disconnect))
            await asyncio.sleep(0.3)
        await rolling

    run(work)
    rollups.refresh()

    assert [row["charged_tokens"] for row in totals()] == [15]
    assert rollups.check() == []


def test_check_names_what_differs_and_rebuild_puts_it_right(prices: None) -> None:
    desk = open_desk()
    use(desk, 10)
    rollups.refresh()
    do("UPDATE usage_dailyusage SET charged_tokens = 11")
    do(
        "INSERT INTO usage_dailyusage (tenant_id, day, key_id, skill, model, calls, errors, estimated_calls, input_tokens,"
        " output_tokens, cache_write_5m_tokens, cache_write_1h_tokens, cache_read_tokens, charged_tokens, cost_micros,"
        " estimated_micros) SELECT tenant_id, day, key_id, 'ghost', model, 1, 0, 0, 1, 0, 0, 0, 0, 1, 1, 0 FROM usage_dailyusage"
    )

    found = [(row["side"], row["skill"], row["charged_tokens"]) for row in rollups.check()]

    assert found == [("events", "complete", 10), ("rollup", "complete", 11), ("rollup", "ghost", 1)]
    rollups.rebuild(desk.tenant, totals()[0]["day"])
    assert [row["charged_tokens"] for row in totals()] == [10]
    assert rollups.check() == []


def test_a_day_that_is_still_to_be_refreshed_is_no_difference(prices: None) -> None:
    use(open_desk(), 10)

    assert rollups.check() == []
    assert totals() == []


def test_the_sum_of_a_day_follows_its_rollups_whoever_changes_them(prices: None) -> None:
    desk = open_desk()
    use(desk, 10, 20)
    rollups.refresh()

    def kept() -> list[tuple[int, int]]:
        return [
            (row["calls"], row["charged_tokens"]) for row in look("SELECT calls, charged_tokens FROM usage_tenantday")
        ]

    assert kept() == [(2, 30)]
    use(desk, 5)
    rollups.refresh()
    assert kept() == [(3, 35)]
    do("UPDATE usage_dailyusage SET charged_tokens = 36")
    assert kept() == [(3, 36)]
    do("DELETE FROM usage_dailyusage")
    assert kept() == []
    assert rollups.check_sums() == []


def test_a_wrong_sum_is_found_and_put_right_by_a_rebuild(prices: None) -> None:
    desk = open_desk()
    use(desk, 10)
    rollups.refresh()
    day = totals()[0]["day"]
    do("UPDATE usage_tenantday SET cost_micros = cost_micros + 1")
    do(
        "INSERT INTO usage_tenantday (tenant_id, day, calls, errors, estimated_calls, input_tokens, output_tokens,"
        " cache_write_5m_tokens, cache_write_1h_tokens, cache_read_tokens, charged_tokens, cost_micros, estimated_micros)"
        " SELECT tenant_id, day - 1, 1, 0, 0, 1, 0, 0, 0, 0, 1, 1, 0 FROM usage_tenantday"
    )

    assert [row["day"] for row in rollups.check_sums()] == [day - timedelta(days=1), day]
    for wrong in rollups.check_sums():
        rollups.rebuild(desk.tenant, wrong["day"])

    assert rollups.check_sums() == []
    assert rollups.check() == []
