"""Settings, budgets and the audit log in the console."""

import csv
import io
import json
from datetime import date, timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from pytest_django import Settings

from console.budgets import burndown
from kit import clock
from kit.errors import Unavailable
from kit.spreadsheets import harmless
from tenants import audit, budgets, provider_keys, seals
from tenants.models import AuditEntry, Budget, BudgetIncrease, Tenant
from tests.console.conftest import Cast
from usage.replays import Call, Proposal, run
from usage.standings import Day

pytestmark = pytest.mark.django_db
SETTINGS = {
    "name": "Acme",
    "timezone": "Europe/Berlin",
    "alert_recipients": "ops@example.com\nfinance@example.com",
    "retention_days": "7",
    "allowed_models": "claude-haiku-4-5",
}
PROVIDER_KEY = "sk-ant-api03-abcdefghijklmnopqrstuvwxyz-9876"


def test_settings_are_saved_with_before_and_after_in_the_log(cast: Cast) -> None:
    assert cast.client("ada").post("/admin/settings/", SETTINGS).status_code == 302

    cast.acme.refresh_from_db()
    assert cast.acme.alert_recipients == ["ops@example.com", "finance@example.com"]
    assert (cast.acme.timezone, cast.acme.retention_days, cast.acme.logs_prompts) == ("Europe/Berlin", 7, False)
    entry = AuditEntry.objects.get(action="tenant.configured")
    assert (entry.details["before"]["retention_days"], entry.details["after"]["retention_days"]) == (30, 7)
    assert "name" not in entry.details["after"]


def test_guardrails_of_relayed_calls_are_saved_and_taken_back(cast: Cast) -> None:
    client = cast.client("ada")
    policy = {"max_input_bytes": 20_000, "guardrails": {"input": {"secrets": "redact"}}}

    assert client.post("/admin/settings/", {**SETTINGS, "messages_policy": json.dumps(policy)}).status_code == 302
    cast.acme.refresh_from_db()
    assert cast.acme.messages_policy == policy
    assert "max_input_bytes" in client.get("/admin/settings/").content.decode()

    assert client.post("/admin/settings/", SETTINGS).status_code == 302
    cast.acme.refresh_from_db()
    assert cast.acme.messages_policy == {}


@pytest.mark.parametrize(
    "wrong",
    [
        "{",
        "[" * 9_000,
        "[]",
        '{"fallbacks": []}',
        '{"guardrails": []}',
        '{"guardrails": {"output": {"canary": "block"}}}',
        '{"max_input_bytes": 0}',
    ],
)
def test_guardrails_that_cannot_be_are_refused(cast: Cast, wrong: str) -> None:
    answer = cast.client("ada").post("/admin/settings/", {**SETTINGS, "messages_policy": wrong})

    assert answer.status_code == 200
    cast.acme.refresh_from_db()
    assert (cast.acme.messages_policy, cast.acme.retention_days) == ({}, 30)


@pytest.mark.parametrize("wrong", [{"timezone": "Mars/Base"}, {"alert_recipients": "me"}, {"retention_days": "0"}])
def test_settings_that_cannot_be_are_refused(cast: Cast, wrong: dict[str, str]) -> None:
    assert cast.client("ada").post("/admin/settings/", {**SETTINGS, **wrong}).status_code == 200

    cast.acme.refresh_from_db()
    assert cast.acme.retention_days == 30


def test_a_viewer_sees_the_settings_and_changes_none(cast: Cast) -> None:
    client = cast.client("bob")

    assert client.post("/admin/settings/", SETTINGS).status_code == 200

    cast.acme.refresh_from_db()
    assert cast.acme.retention_days == 30


def test_the_provider_key_is_sealed_and_never_shown_again(cast: Cast) -> None:
    client = cast.client("alice")

    assert client.post("/admin/settings/provider-key/", {"provider_key": PROVIDER_KEY}).status_code == 302

    tenant = Tenant.objects.get(pk=cast.acme.pk)
    assert PROVIDER_KEY.encode() not in bytes(tenant.provider_key_sealed or b"")
    assert seals.unseal(bytes(tenant.provider_key_sealed or b"")) == PROVIDER_KEY
    assert PROVIDER_KEY not in client.get("/admin/settings/").content.decode()
    assert PROVIDER_KEY not in str(list(AuditEntry.objects.values()))
    client.post("/admin/settings/provider-key/", {"remove": "1"})
    assert Tenant.objects.get(pk=cast.acme.pk).provider_key_sealed is None


def test_a_new_field_key_opens_what_the_old_one_sealed(cast: Cast, settings: Settings) -> None:
    provider_keys.store(cast.acme, secret=PROVIDER_KEY, now=clock.now(), actor="alice")
    (old,) = settings.FIELD_KEYS

    settings.FIELD_KEYS = ["the new one", old]
    assert provider_keys.reseal_all() == 1
    settings.FIELD_KEYS = ["the new one"]

    assert seals.unseal(bytes(Tenant.objects.get(pk=cast.acme.pk).provider_key_sealed or b"")) == PROVIDER_KEY
    settings.FIELD_KEYS = [old]
    with pytest.raises(Unavailable):
        seals.unseal(bytes(Tenant.objects.get(pk=cast.acme.pk).provider_key_sealed or b""))


def test_a_budget_is_set_raised_and_removed(cast: Cast) -> None:
    client = cast.client("ada")
    given = {"key": "", "skill": "", "window": "day", "limit_tokens": "500", "limit_micros": "1.5", "thresholds": "90"}
    hearing = {"alert_recipients": "books@acme.example\nlead@acme.example"}

    client.post("/admin/budgets/set/", {**given, **hearing})
    budget = Budget.objects.get(tenant=cast.acme, window="day")
    assert (budget.limit_tokens, budget.limit_micros, budget.thresholds) == (500, 1_500_000, [90])
    assert budget.alert_recipients == ["books@acme.example", "lead@acme.example"]
    assert "also to books@acme.example, lead@acme.example" in client.get("/admin/budgets/").content.decode()
    assert "books@acme.example\n" in client.get(f"/admin/budgets/set/?budget={budget.pk}").content.decode()
    refused = client.post("/admin/budgets/set/", {**given, "alert_recipients": "nobody"}).content.decode()
    assert "is no mail address" in refused
    ends = (clock.now() + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M")
    client.post(f"/admin/budgets/{budget.pk}/increase/", {"extra_tokens": "70", "ends_at": ends, "reason": "launch"})
    assert BudgetIncrease.objects.get().extra_tokens == 70
    assert "570 tokens" not in client.get("/admin/budgets/").content.decode()
    client.post(f"/admin/budgets/{budget.pk}/remove/", {})

    assert not Budget.objects.filter(pk=budget.pk).exists()
    assert set(
        AuditEntry.objects.filter(action__startswith="budget.", actor="ada").values_list("action", flat=True)
    ) == {
        "budget.set",
        "budget.increased",
        "budget.removed",
    }


def test_a_required_budget_cannot_be_removed(cast: Cast) -> None:
    monthly = budgets.find(cast.acme)

    text = cast.client("ada").post(f"/admin/budgets/{monthly.pk}/remove/", {}).content.decode()

    assert "has a monthly token budget" in text
    assert Budget.objects.filter(pk=monthly.pk).exists()


def call(minute: int, tokens: int, *, milliseconds: int = 0) -> Call:
    at = clock.now().replace(second=0, microsecond=0) + timedelta(minutes=minute)
    return Call(at, date(2026, 3, 1), date(2026, 3, 1), tokens, tokens * 10, milliseconds)


@pytest.mark.parametrize(
    ("proposal", "blocked", "reason"),
    [
        (Proposal(limit_tokens=250), [100], "token budget"),
        (Proposal(limit_micros=1_000), [100, 100], "cost budget"),
        (Proposal(limit_tokens=10**6), [], None),
        (Proposal(requests_per_minute=2), [100], "requests per minute"),
        (Proposal(tokens_per_minute=200), [100], "tokens per minute"),
        (Proposal(concurrent_calls=1), [100, 100], "concurrent calls"),
    ],
)
def test_a_replay_blocks_exactly_what_would_not_have_fitted(
    proposal: Proposal, blocked: list[int], reason: str | None
) -> None:
    found = run([call(0, 100, milliseconds=500) for _ in range(3)], proposal=proposal)

    assert (found.calls, found.tokens) == (3, 300)
    assert (found.blocked_calls, found.blocked_tokens) == (len(blocked), sum(blocked))
    assert set(found.reasons) == ({reason} if reason else set())


def test_what_a_replay_blocks_leaves_room_for_what_follows() -> None:
    found = run([call(0, 80), call(1, 80), call(2, 20)], proposal=Proposal(limit_tokens=100))

    assert (found.blocked_calls, found.blocked_tokens) == (1, 80)


def test_the_burndown_goes_on_at_the_pace_of_the_last_days() -> None:
    month = date(2026, 4, 1)
    days = [Day(month + timedelta(days=number), 1, 10, 0) for number in range(10)]

    chart = burndown.draw(days, limit=250, month=month, today=date(2026, 4, 10), used=100)

    assert (chart.left, chart.projected, chart.is_over) == (150, 300, True)
    assert chart.runs_out_on == date(2026, 4, 25)
    assert [left for _, _, left in chart.rows][-1] == 150


def test_the_audit_log_filters_and_exports_the_same(cast: Cast) -> None:
    audit.record("tenant.configured", tenant=cast.acme, actor='=HYPERLINK("x")', subject="@SUM(A1)")
    client = cast.client("fiona")

    text = client.get("/admin/tenants/auditentry/export/", {"area": "tenant"}).content.decode()

    table = list(csv.reader(io.StringIO(text)))
    assert {row[2] for row in table[1:]} == {"tenant.created", "tenant.configured"}
    (forged,) = (row for row in table if "HYPERLINK" in row[1])
    assert forged[1].startswith("'=")
    assert forged[3].startswith("'@")


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1", "  =1", "\n=1"])
def test_what_could_begin_a_formula_is_text(cell: str) -> None:
    assert harmless(cell) == f"'{cell}"
    assert harmless("plain = text") == "plain = text"


@pytest.mark.parametrize("statement", ["UPDATE tenants_auditentry SET actor = 'x'", "DELETE FROM tenants_auditentry"])
def test_the_audit_log_is_append_only(cast: Cast, statement: str) -> None:
    with pytest.raises(DatabaseError, match="stays as it was recorded"), transaction.atomic(), cursor() as found:
        found.execute(statement)


def cursor() -> Any:
    return connection.cursor()
