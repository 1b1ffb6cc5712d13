"""Budgets are set, raised for a time and removed; each leaves its trace in the audit log, and a refusal leaves none."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from kit.errors import Conflict, InvalidRequest, NotFound
from tenants import budgets, keys
from tenants.models import AuditEntry, Budget, BudgetIncrease
from tests.factories import make_key, make_tenant

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
pytestmark = pytest.mark.django_db


def trail() -> list[str]:
    return list(AuditEntry.objects.filter(action__startswith="budget").order_by("pk").values_list("action", flat=True))


def test_set_replaces_the_budget_of_the_same_scope() -> None:
    tenant = make_tenant()

    first = budgets.set_budget(tenant, limit_tokens=500, limit_micros=900, now=NOW, actor="alice")
    again = budgets.set_budget(tenant, limit_tokens=700, thresholds=[90, 50, 50], now=NOW, actor="alice")

    (found,) = Budget.objects.filter(tenant=tenant)
    assert first.pk == again.pk == found.pk
    assert (found.limit_tokens, found.limit_micros, found.thresholds) == (700, None, [50, 90])
    entry = AuditEntry.objects.filter(action="budget.set").latest("pk")
    assert (entry.actor, entry.subject, entry.details["limit_tokens"]) == ("alice", tenant.slug, 700)
    assert entry.details["before"]["limit_tokens"] == 500


def test_a_new_budget_alerts_at_the_usual_thresholds() -> None:
    made = budgets.set_budget(make_tenant(), window="day", limit_tokens=5, now=NOW)

    assert Budget.objects.get(pk=made.pk).thresholds == [50, 80, 100]


def test_a_successors_budget_is_its_familys() -> None:
    tenant = make_tenant()
    first = make_key(tenant).key
    successor = keys.rotate(first, overlap=timedelta(0), now=datetime.now(tz=UTC)).key  # noqa: TID251 - keys expire by the real clock

    made = budgets.set_budget(tenant, key=successor, window="day", limit_tokens=5, now=NOW)

    assert made.key == first


@pytest.mark.parametrize(
    "terms",
    [
        {},
        {"limit_micros": 5},
        {"limit_tokens": 0},
        {"limit_tokens": -1},
        {"limit_tokens": 10**16},
        {"limit_tokens": True},
        {"window": "week", "limit_tokens": 5},
        {"window": "day"},
        {"skill": "x" * 65, "limit_tokens": 5},
        {"skill": "a\nb", "limit_tokens": 5},
        {"limit_tokens": 5, "thresholds": [0]},
        {"limit_tokens": 5, "thresholds": [1001]},
        {"limit_tokens": 5, "thresholds": list(range(1, 12))},
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_is_written(terms: dict[str, Any]) -> None:
    tenant = make_tenant()
    before = list(Budget.objects.values())

    with pytest.raises(InvalidRequest):
        budgets.set_budget(tenant, now=NOW, **terms)

    assert (list(Budget.objects.values()), trail()) == (before, [])


def test_another_tenants_key_is_not_found() -> None:
    tenant, other = make_tenant(), make_tenant("other")
    key = make_key(other).key

    with pytest.raises(NotFound):
        budgets.set_budget(tenant, key=key, limit_tokens=5, now=NOW)

    assert trail() == []


def test_increase_notes_who_why_and_until_when() -> None:
    budget = budgets.set_budget(make_tenant(), limit_tokens=500, now=NOW)

    made = budgets.increase(
        budget, extra_tokens=50, ends_at=NOW + timedelta(hours=1), reason="the fair", now=NOW, actor="alice"
    )

    assert (made.starts_at, made.ends_at, made.extra_tokens, made.extra_micros) == (
        NOW,
        NOW + timedelta(hours=1),
        50,
        0,
    )
    entry = AuditEntry.objects.get(action="budget.increased")
    assert (entry.actor, entry.details["reason"], entry.details["extra_tokens"]) == ("alice", "the fair", 50)


@pytest.mark.parametrize(
    "terms",
    [
        {"extra_tokens": 0},
        {"extra_tokens": -5},
        {"extra_tokens": 5, "reason": " "},
        {"extra_tokens": 5, "ends_at": NOW},
        {"extra_tokens": 5, "ends_at": datetime(2027, 1, 1)},  # noqa: DTZ001 - an instant without its offset is the point
        {"extra_micros": 5},  # the budget limits no cost
    ],
)
def test_an_increase_that_makes_no_sense_is_refused(terms: dict[str, Any]) -> None:
    budget = budgets.set_budget(make_tenant(), limit_tokens=500, now=NOW)
    given = {"ends_at": NOW + timedelta(hours=1), "reason": "test", "now": NOW, **terms}

    with pytest.raises(InvalidRequest):
        budgets.increase(budget, **given)

    assert BudgetIncrease.objects.count() == 0
    assert trail() == ["budget.set"]


def test_only_optional_budgets_can_be_removed() -> None:
    tenant = make_tenant()
    required = budgets.set_budget(tenant, limit_tokens=500, now=NOW)
    optional = budgets.set_budget(tenant, window="day", limit_tokens=500, now=NOW)
    budgets.increase(optional, extra_tokens=5, ends_at=NOW + timedelta(hours=1), reason="test", now=NOW)

    with pytest.raises(Conflict):
        budgets.remove(required, now=NOW)
    budgets.remove(optional, now=NOW)

    assert list(Budget.objects.filter(tenant=tenant)) == [required]
    assert BudgetIncrease.objects.count() == 0
    assert trail()[-1] == "budget.removed"
    with pytest.raises(NotFound):
        budgets.remove(optional, now=NOW)


def test_the_commands_set_raise_and_remove() -> None:
    tenant = make_tenant()
    key = make_key(tenant).key
    scope = ["--tenant", "acme", "--key", key.public_id, "--window", "day"]

    call_command("set_budget", *scope, "--tokens", "500", "--thresholds", "10,20")
    call_command("increase_budget", *scope, "--tokens", "5", "--hours", "2", "--reason", "test")

    found = budgets.find(tenant, key=key, window="day")
    assert (found.limit_tokens, found.thresholds, found.increases.get().extra_tokens) == (500, [10, 20], 5)
    call_command("set_budget", *scope, "--remove")
    with pytest.raises(NotFound):
        budgets.find(tenant, key=key, window="day")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("set_budget", ["--tokens", "0"]),
        ("set_budget", ["--tokens", "5", "--thresholds", "half"]),
        ("set_budget", ["--remove"]),
        ("set_budget", ["--remove", "--window", "day"]),
        ("increase_budget", ["--tokens", "5", "--hours", "0", "--reason", "test"]),
        ("increase_budget", ["--tokens", "5", "--hours", "1", "--reason", "test", "--skill", "none"]),
    ],
)
def test_the_commands_refuse_in_one_sentence(name: str, options: list[str]) -> None:
    make_tenant()

    with pytest.raises(CommandError):
        call_command(name, "--tenant", "acme", *options)

    assert trail() == []
