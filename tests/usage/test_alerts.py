"""Soft thresholds tell once, the right people, also when two tasks run at once."""

import asyncio
import json
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.db import connection
from pytest_django import Settings

from kit import clock
from tenants import budgets
from tenants.models import Membership, Tenant, User
from tests.usage.desk import Desk, closing_pool, look, open_desk, settled
from usage import alerts, ledger, tasks

SetClock = Callable[[str], None]


def person(tenant: Tenant, role: str, *, email: str | None = None, **options: Any) -> None:
    user = User.objects.create(
        username=f"{role}-{tenant.slug}", email=email or f"{role}@{tenant.slug}.example", **options
    )
    Membership.objects.create(tenant=tenant, user=user, role=role)


def use(desk: Desk, tokens: int, *, of: int | None = None) -> None:
    async def work() -> None:
        await ledger.settle(await desk.reserve(of or tokens), settled(tokens))

    asyncio.run(closing_pool(work))


def watched(slug: str = "acme", *, tokens: int) -> Desk:
    """A desk whose tenant's budget alerts at 50, 80 and 100 %, and no other."""
    desk = open_desk(slug)
    budgets.set_budget(desk.tenant, limit_tokens=tokens, thresholds=[50, 80, 100], now=clock.now())
    budgets.set_budget(desk.tenant, key=desk.key, limit_tokens=10**9, thresholds=[], now=clock.now())
    return desk


def raised() -> list[tuple[str, int, int, int]]:
    rows = [json.loads(row["details"]) for row in look("SELECT details FROM usage_alert")]
    names = ("unit", "threshold", "used", "limit")
    return sorted((tuple(row[name] for name in names) for row in rows), key=lambda row: row[:3])


def test_each_threshold_is_told_once(prices: None) -> None:
    desk = watched(tokens=1000)
    person(desk.tenant, "owner")

    use(desk, 499)
    tasks.raise_budget_alerts()
    assert (raised(), mail.outbox) == ([], [])
    use(desk, 1)
    tasks.raise_budget_alerts()
    use(desk, 10)
    tasks.raise_budget_alerts()
    assert raised() == [("tokens", 50, 500, 1000)]
    use(desk, 490)
    tasks.raise_budget_alerts()
    tasks.raise_budget_alerts()

    assert [row[1] for row in raised()] == [50, 80, 100]
    assert len(mail.outbox) == 3
    assert mail.outbox[0].subject == "50 % of the budget of Acme is used"
    assert "500 tokens of 1,000 tokens in the month" in str(mail.outbox[0].body)


def test_those_whom_a_budget_names_hear_of_it_and_of_no_other(prices: None) -> None:
    desk = watched(tokens=100)
    person(desk.tenant, "owner")
    named = ["lead@acme.example", "owner@acme.example"]
    budgets.set_budget(
        desk.tenant, key=desk.key, limit_tokens=100, thresholds=[60], alert_recipients=named, now=clock.now()
    )

    use(desk, 55)
    tasks.raise_budget_alerts()
    use(desk, 6)
    tasks.raise_budget_alerts()

    assert [one.to for one in mail.outbox] == [["owner@acme.example"], ["lead@acme.example", "owner@acme.example"]]


def test_owners_admins_and_finance_are_told_and_nobody_else(prices: None) -> None:
    desk, other = watched(tokens=100), open_desk("other")
    for role in ("owner", "admin", "finance", "viewer"):
        person(desk.tenant, role)
    person(other.tenant, "owner")
    User.objects.filter(username="admin-acme").update(is_active=False)

    use(desk, 60)
    tasks.raise_budget_alerts()

    (sent,) = mail.outbox
    assert sent.to == ["finance@acme.example", "owner@acme.example"]


def test_what_is_only_reserved_is_not_told(prices: None) -> None:
    desk = watched(tokens=100)

    async def work() -> None:
        await desk.reserve(90)

    asyncio.run(closing_pool(work))
    tasks.raise_budget_alerts()

    assert raised() == []


def test_costs_and_own_thresholds_count(prices: None) -> None:
    desk = open_desk(tokens=10**6)
    budgets.set_budget(
        desk.tenant, key=desk.key, limit_tokens=10**6, limit_micros=1000, thresholds=[10, 33], now=clock.now()
    )

    use(desk, 330, of=150)
    tasks.raise_budget_alerts()

    assert raised() == [("micros", 10, 330, 1000), ("micros", 33, 330, 1000)]


def test_a_day_and_the_next_are_told_apart(prices: None, set_clock: SetClock) -> None:
    set_clock("2026-07-15 12:00:00+00")
    desk = open_desk()
    budgets.set_budget(desk.tenant, window="day", limit_tokens=100, thresholds=[50], now=clock.now())
    use(desk, 60)
    tasks.raise_budget_alerts()
    set_clock("2026-07-16 12:00:00+00")
    use(desk, 70)
    tasks.raise_budget_alerts()

    assert [row[2] for row in raised()] == [60, 70]


def test_what_was_used_in_a_windows_last_seconds_is_told_after_it(prices: None, set_clock: SetClock) -> None:
    set_clock("2026-07-15 23:59:59+00")
    desk = open_desk()
    budgets.set_budget(desk.tenant, window="day", limit_tokens=100, thresholds=[50], now=clock.now())
    use(desk, 60)

    set_clock("2026-07-16 00:00:20+00")
    tasks.raise_budget_alerts()

    assert [row[1] for row in raised()] == [50]


def test_two_tasks_at_once_tell_once(prices: None) -> None:
    desks = [watched(f"tenant-{n}", tokens=100) for n in range(8)]
    for desk in desks:
        person(desk.tenant, "owner")
        use(desk, 85)
    start = threading.Barrier(2)

    def work() -> None:
        start.wait()
        tasks.raise_budget_alerts()
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(raised()) == 16
    assert sorted((sent.to[0], sent.subject[:2]) for sent in mail.outbox) == sorted(
        (f"owner@tenant-{n}.example", percent) for n in range(8) for percent in ("50", "80")
    )


class BrokenBackend(EmailBackend):
    """A mail server that cannot be reached."""

    def send_messages(self, messages: Any) -> int:
        raise ConnectionRefusedError


def test_a_mail_that_does_not_go_is_sent_the_next_time(prices: None, settings: Settings) -> None:
    desk = watched(tokens=100)
    person(desk.tenant, "owner")
    use(desk, 60)
    backend = settings.EMAIL_BACKEND
    settings.EMAIL_BACKEND = f"{__name__}.BrokenBackend"
    alerts.raise_budgets()
    assert alerts.send_due(now=clock.now()) == 0

    settings.EMAIL_BACKEND = backend

    assert alerts.send_due(now=clock.now() + timedelta(minutes=1)) == 1
    assert len(mail.outbox) == 1


def test_an_alert_that_nobody_can_read_is_not_tried_for_ever(prices: None) -> None:
    desk = watched(tokens=100)
    use(desk, 60)

    tasks.raise_budget_alerts()

    assert look("SELECT outcome FROM usage_alertdelivery WHERE channel = 'mail'") == [{"outcome": "nobody"}]
    assert mail.outbox == []


@pytest.mark.parametrize("percent", [1, 1000])
def test_a_threshold_may_be_far_from_half(prices: None, percent: int) -> None:
    desk = watched(tokens=100)
    budgets.set_budget(desk.tenant, limit_tokens=100, thresholds=[percent], now=clock.now())
    use(desk, 1 if percent == 1 else 1000, of=100)

    tasks.raise_budget_alerts()

    assert [row[1] for row in raised()] == [percent]
