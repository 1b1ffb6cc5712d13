"""Budget against actual: a month that is over is held against its budgets as they were at its end."""

from collections.abc import Callable
from datetime import UTC, date, datetime

from tenants.models import Budget, BudgetIncrease
from tests.finance.books import use
from tests.usage.desk import Desk, open_desk
from usage import reports
from usage.reports import Plan

SetClock = Callable[[str], None]
JUNE, JULY, AUGUST = date(2026, 6, 1), date(2026, 7, 1), date(2026, 8, 1)


def of_tenant(desk: Desk, month: date) -> Plan | None:
    return next((plan for plan in reports.plans(desk.tenant.pk, month) if not plan.key_name and not plan.skill), None)


def test_a_limit_that_is_changed_later_does_not_change_the_past(prices: None, set_clock: SetClock) -> None:
    set_clock("2026-07-15 12:00:00+00")
    desk = open_desk(timezone="Europe/Berlin", tokens=1000)
    use(desk, [250])
    budget = Budget.objects.get(tenant=desk.tenant, key=None)
    set_clock("2026-07-31 21:59:59+00")  # the last second of Berlin's July
    Budget.objects.filter(pk=budget.pk).update(limit_tokens=2000)
    set_clock("2026-07-31 22:00:00+00")
    Budget.objects.filter(pk=budget.pk).update(limit_tokens=50)

    july, august = of_tenant(desk, JULY), of_tenant(desk, AUGUST)

    assert july is not None
    assert august is not None
    assert (july.limit_tokens, july.tokens, july.percent) == (2000, 250, 12)
    assert (august.limit_tokens, august.tokens) == (50, 0)
    assert of_tenant(desk, JUNE) is None


def test_increases_and_budgets_that_are_gone_still_count_for_their_month(prices: None, set_clock: SetClock) -> None:
    set_clock("2026-07-15 12:00:00+00")
    desk = open_desk(tokens=1000)
    skilled = Budget.objects.create(tenant=desk.tenant, skill="complete", limit_micros=5000)
    given = {"tenant": desk.tenant, "budget": skilled, "extra_micros": 70}
    begun = datetime(2026, 7, 1, tzinfo=UTC)
    BudgetIncrease.objects.create(**given, starts_at=begun, ends_at=datetime(2026, 8, 1, tzinfo=UTC))
    BudgetIncrease.objects.create(**given, starts_at=begun, ends_at=datetime(2026, 7, 20, tzinfo=UTC))
    use(desk, [100])
    set_clock("2026-08-02 12:00:00+00")
    skilled.increases.all().delete()
    skilled.delete()

    limits = {
        (plan.skill, plan.limit_tokens, plan.limit_micros, plan.micros) for plan in reports.plans(desk.tenant.pk, JULY)
    }

    assert ("complete", None, 5070, 100) in limits
    assert all(plan.skill == "" for plan in reports.plans(desk.tenant.pk, AUGUST))
