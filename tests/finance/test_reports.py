"""A report equals the events at every moment: before they are rolled up, after, and while they change."""

import asyncio
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest

from kit.errors import NotFound
from tests.factories import outside_of_the_loop
from tests.usage.desk import Desk, closing_pool, do, lapse, look, open_desk, settled
from usage import ledger, reports, rollups, scale
from usage.pricing import Tokens

SetClock = Callable[[str], None]
JULY = date(2026, 7, 1)


def run(work: Any) -> None:
    asyncio.run(closing_pool(work))


def test_a_month_sums_what_its_events_say(prices: None, set_clock: SetClock) -> None:
    set_clock("2026-07-15 12:00:00+00")
    desk = open_desk()

    async def work() -> None:
        tokens = Tokens(input=10, output=20, cache_write_5m=3, cache_write_1h=4, cache_read=5)
        await ledger.settle(await desk.reserve(100), ledger.Closing("settled", tokens, cost_micros=123))
        await ledger.settle(await desk.reserve(100), settled(7, error_type="upstream_broken"))
        await ledger.settle(await desk.reserve(100), ledger.Closing("released", error_type="overloaded_error"))
        await desk.reserve(40, skill="other")
        lapse(desk)
        await ledger.sweep()
        await desk.reserve(9)

    run(work)
    found = reports.month(desk.tenant.pk, JULY)

    total = found.total
    assert [total.calls, total.errors, total.settled_calls, total.released_calls, total.estimated_calls] == [
        4,
        3,
        2,
        1,
        1,
    ]
    assert [getattr(total, name) for name in reports.TOKEN_CLASSES] == [10 + 7 + 20, 20 + 20, 3, 4, 5]
    assert [total.cost_micros, total.billed_micros, total.estimated_micros] == [330, 330, 200]
    assert str(total.estimated_share) == "0.6061"
    assert {line.of: line.sums.calls for line in found.skills} == {"complete": 3, "other": 1}
    assert [(line.of, line.sums.calls) for line in found.days] == [("2026-07-15", 4)]
    assert [(line.of, line.sums) for line in found.keys] == [(desk.key.public_id, total)]
    counted = found.completeness
    assert [counted.admitted, counted.open, counted.first_number, counted.last_number] == [5, 1, 1, 5]
    assert (counted.is_gapless, counted.is_final) == (True, False)


def test_a_report_is_the_same_before_and_after_its_days_are_rolled(prices: None, set_clock: SetClock) -> None:
    set_clock("2026-07-15 12:00:00+00")
    desk = open_desk()
    seen = []

    async def work() -> None:
        first, second, third = [await desk.reserve(100) for _ in range(3)]
        for step in (
            lambda: ledger.settle(second, settled(20)),
            lambda: _lapsed(desk),
            lambda: ledger.settle(first, settled(30)),
            lambda: ledger.settle(third, ledger.Closing("released")),
        ):
            await step()
            before = outside_of_the_loop(lambda: reports.month(desk.tenant.pk, JULY))
            outside_of_the_loop(rollups.refresh)
            after = outside_of_the_loop(lambda: reports.month(desk.tenant.pk, JULY))
            seen.append((before == after, after.total.calls, after.total.estimated_calls, after.total.cost_micros))

    run(work)

    assert seen == [(True, 1, 0, 20), (True, 3, 2, 20 + 2 * 500), (True, 3, 1, 50 + 500), (True, 3, 0, 50)]
    assert rollups.check() == []
    assert look("SELECT count(*) AS n FROM usage_provisionalusage") == [{"n": 0}]


async def _lapsed(desk: Desk) -> None:
    lapse(desk)
    await ledger.sweep()


@pytest.mark.parametrize(
    ("zone", "instants"),
    [
        # Berlin's March begins at 23:00 UTC and, summer time having begun, ends at 22:00 UTC.
        (
            "Europe/Berlin",
            {
                "2026-02-28 22:59:59+00": 2,
                "2026-02-28 23:00:00+00": 3,
                "2026-03-31 21:59:59+00": 3,
                "2026-03-31 22:00:00+00": 4,
            },
        ),
        (
            "America/New_York",
            {
                "2026-11-01 03:59:59+00": 10,
                "2026-11-01 04:00:00+00": 11,
                "2026-12-01 04:59:59+00": 11,
                "2026-12-01 05:00:00+00": 12,
            },
        ),
        ("Pacific/Kiritimati", {"2026-06-30 09:59:59+00": 6, "2026-06-30 10:00:00+00": 7}),
    ],
)
def test_an_event_is_in_the_month_of_its_tenants_zone(
    prices: None, set_clock: SetClock, zone: str, instants: dict[str, int]
) -> None:
    desk = open_desk(timezone=zone)

    async def work() -> None:
        for instant in instants:
            set_clock(instant)
            await ledger.settle(await desk.reserve(10), settled(1))

    run(work)

    for month in set(instants.values()):
        expected = sum(found == month for found in instants.values())
        assert reports.month(desk.tenant.pk, date(2026, month, 1)).total.calls == expected


def test_a_row_that_is_gone_is_missing_in_the_report(prices: None, set_clock: SetClock) -> None:
    set_clock("2026-07-15 12:00:00+00")
    desk = open_desk()

    async def work() -> None:
        for _ in range(3):
            await ledger.settle(await desk.reserve(10), settled(1))

    run(work)
    do("ALTER TABLE usage_event DISABLE TRIGGER usage_event_refuses_removal")
    do("DELETE FROM usage_event WHERE number = 2")
    do("ALTER TABLE usage_event ENABLE TRIGGER usage_event_refuses_removal")

    found = reports.month(desk.tenant.pk, JULY).completeness

    assert (found.admitted, found.first_number, found.last_number, found.missing, found.is_gapless) == (
        2,
        1,
        3,
        1,
        False,
    )


def test_all_tenants_at_a_glance_are_their_months(prices: None, set_clock: SetClock) -> None:
    set_clock("2026-07-15 12:00:00+00")
    small, large, idle = open_desk("small"), open_desk("large"), open_desk("idle")

    async def work() -> None:
        await ledger.settle(await small.reserve(10), settled(1))
        await ledger.settle(await large.reserve(10), settled(9))
        await large.reserve(10)

    run(work)
    found = reports.platform(JULY)

    assert [line.slug for line in found] == ["large", "small", "idle"]
    for line in found:
        own = reports.month(line.tenant_id, JULY)
        assert (line.sums, line.completeness) == (own.total, own.completeness)
    assert found[2].completeness.is_final
    assert idle.tenant.pk == found[2].tenant_id


def test_a_tenant_that_does_not_exist_has_no_report(db: None) -> None:
    with pytest.raises(NotFound):
        reports.month(999_999, JULY)


def test_a_seeded_year_has_reports_that_equal_its_events(prices: None) -> None:
    now = datetime(2026, 3, 29, 12, tzinfo=UTC)
    scale.seed(scale.Size(tenants=3, keys=6, events=2000, days=40), now=now)

    rolled = [reports.platform(month) for month in (date(2026, 2, 1), date(2026, 3, 1))]
    do("SELECT usage_forget_days(id, '2026-01-01', '2026-12-31') FROM tenants_tenant")

    assert [reports.platform(month) for month in (date(2026, 2, 1), date(2026, 3, 1))] == rolled
    assert sum(line.completeness.admitted for month in rolled for line in month) == 2000
    rollups.refresh()
    assert [reports.platform(month) for month in (date(2026, 2, 1), date(2026, 3, 1))] == rolled
    assert rollups.check() == []
