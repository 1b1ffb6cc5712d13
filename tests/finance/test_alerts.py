"""Alerts of every kind: raised once, told by every channel, and ended when what raised them is over."""

import json
import threading
from collections.abc import Callable
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from pytest_django import Settings
from standardwebhooks.webhooks import Webhook

from kit import clock
from skills.webhooks.alerts import secret as webhook_secret
from tenants.models import Membership, User
from tests.finance.books import use
from tests.usage.desk import Desk, do, look, open_desk
from usage import alerts, tasks
from usage.alerts.spend import usual

SetClock = Callable[[str], None]
TODAY = date(2026, 7, 29)  # a Wednesday


def history(desk: Desk, micros: dict[int, int]) -> None:
    """Days ago → what the desk's key spent."""
    for ago, spent in micros.items():
        do(
            "INSERT INTO usage_dailyusage (tenant_id, day, key_id, skill, model, calls, errors, estimated_calls, input_tokens,"
            " output_tokens, cache_write_5m_tokens, cache_write_1h_tokens, cache_read_tokens, charged_tokens, cost_micros,"
            " estimated_micros) VALUES (%s, %s, %s, 'complete', 'claude-haiku-4-5', 1, 0, 0, 0, 0, 0, 0, 0, 0, %s, 0)",
            [desk.tenant.pk, TODAY - timedelta(days=ago), desk.key.pk, spent],
        )


def kinds() -> list[tuple[str, int | None]]:
    return [(row["kind"], row["tenant_id"]) for row in look("SELECT kind, tenant_id FROM usage_alert ORDER BY id")]


def deliveries() -> list[dict[str, Any]]:
    return look("SELECT channel, outcome, attempts, log FROM usage_alertdelivery ORDER BY id")


@pytest.fixture
def told(prices: None, set_clock: SetClock) -> Desk:
    set_clock(f"{TODAY} 18:00:00+00")
    desk = open_desk()
    owner = User.objects.create(username="owner", email="owner@acme.example")
    Membership.objects.create(tenant=desk.tenant, user=owner, role="owner")
    return desk


def test_a_day_far_above_its_history_is_told_once_for_the_tenant_and_once_for_the_key(told: Desk) -> None:
    history(told, {ago: 2_000_000 + 10_000 * (ago % 3) for ago in range(1, 29)} | {0: 9_000_000})

    assert [alerts.raise_spend(), alerts.raise_spend()] == [2, 0]

    assert kinds() == [("spend", told.tenant.pk)] * 2
    tenants, keys = alerts.open_for(told.tenant.pk)[::-1]
    assert tenants.title == "Acme spent $9.000000 on 2026-07-29: more than is usual"
    assert keys.title.startswith(f"The key {told.key.name} (")
    assert tenants.details["median_micros"] == 2_010_000
    assert "Wednesday, 2026-07-29 (UTC)" in tenants.text
    assert "In the 28 days before, the middle day cost $2.010000" in tenants.text


def test_what_is_usual_is_not_told(told: Desk) -> None:
    weekly = {ago: 20_000_000 if ago % 7 == 0 else 1_000_000 for ago in range(1, 29)}
    history(told, weekly | {0: 21_000_000})  # each Wednesday is dear
    young = open_desk("young")
    history(young, {0: 50_000_000, 2: 1_000_000})  # nothing to measure by
    small = open_desk("small")
    history(small, dict.fromkeys(range(1, 20), 10_000) | {0: 900_000})  # below the floor

    assert alerts.raise_spend() == 0


def test_yesterdays_last_calls_count_too_and_an_old_day_is_not_open(told: Desk, set_clock: SetClock) -> None:
    history(told, dict.fromkeys(range(1, 29), 1_000_000) | {0: 9_000_000})
    set_clock(f"{TODAY + timedelta(days=1)} 01:00:00+00")

    assert alerts.raise_spend() == 2
    assert len(alerts.open_for(told.tenant.pk)) == 2
    set_clock(f"{TODAY + timedelta(days=2)} 01:00:00+00")
    assert alerts.open_for(told.tenant.pk) == []
    assert len(alerts.latest(told.tenant.pk)) == 2


def test_the_yardstick_is_robust() -> None:
    wild = [100] * 20 + [1_000_000_000] * 6

    assert usual([2_000_000] * 28, same_weekday=[2_000_000]) == (2_000_000, 0, 6_000_000)
    assert usual(wild, same_weekday=[100])[:2] == (100, 0)
    assert usual([1_000_000, 2_000_000, 3_000_000], same_weekday=[]) == (2_000_000, 1_482_600, 10_895_600)


def test_a_model_without_a_price_is_told_until_it_has_one(told: Desk, settings: Settings) -> None:
    settings.SKILL_MODELS = {"fast": "claude-haiku-4-5", "deep": "claude-next-9"}
    User.objects.create_superuser("operator", "operator@example.com", "irrelevant")
    use(told, [10], model="claude-haiku-4-5-20251001")

    tasks.raise_spend_alerts()
    tasks.raise_spend_alerts()
    tasks.raise_budget_alerts()

    assert [one.title for one in alerts.open_for(None)] == ["The model claude-next-9 has no price"]
    assert [(sent.to, sent.subject) for sent in mail.outbox] == [
        (["operator@example.com"], "The model claude-next-9 has no price")
    ]
    settings.SKILL_MODELS = {"fast": "claude-haiku-4-5"}
    tasks.raise_spend_alerts()
    assert alerts.open_for(None) == []


class BrokenBackend(EmailBackend):
    """A mail server that cannot be reached."""

    def send_messages(self, messages: Any) -> int:
        raise ConnectionRefusedError("no one there")


def test_every_attempt_is_on_the_log_and_after_the_last_it_is_given_up(told: Desk, settings: Settings) -> None:
    alerts.raise_alert("spend", once="x", tenant_id=told.tenant.pk, title="T", text="text")
    settings.EMAIL_BACKEND = f"{__name__}.BrokenBackend"
    now = clock.now()
    for _ in range(9):
        alerts.send_due(now=now)
        now += timedelta(hours=12)

    (row,) = [row for row in deliveries() if row["channel"] == "mail"]

    assert (row["outcome"], row["attempts"]) == ("failed", 8)
    assert row["log"].count("ConnectionRefusedError: no one there") == 8


def test_those_whom_the_tenant_names_are_told_besides_its_people(told: Desk) -> None:
    told.tenant.alert_recipients = ["books@acme.example", "owner@acme.example"]
    told.tenant.save()
    alerts.raise_alert("spend", once="x", tenant_id=told.tenant.pk, title="T", text="text")

    assert alerts.send_due(now=clock.now()) == 1
    assert alerts.send_due(now=clock.now()) == 0
    (sent,) = mail.outbox
    assert sent.to == ["books@acme.example", "owner@acme.example"]


def test_a_tenants_endpoints_get_a_signed_message_each_by_the_outbox(told: Desk) -> None:
    for number, is_active in ((1, True), (2, True), (3, False)):
        do(
            "INSERT INTO skills_webhookendpoint (id, tenant_id, url, is_active) VALUES (gen_random_uuid(), %s, %s, %s)",
            [told.tenant.pk, f"https://hooks.acme.example/{number}", is_active],
        )
    alerts.raise_alert(
        "spend", once="x", tenant_id=told.tenant.pk, title="Dear", text="text", details={"day": "2026-07-29"}
    )

    alerts.send_due(now=clock.now())
    alerts.send_due(now=clock.now())

    rows = look("SELECT event, payload, state FROM skills_webhookdelivery")
    payloads = [json.loads(row["payload"]) for row in rows]
    assert [(row["event"], row["state"]) for row in rows] == [("alert.raised", "pending")] * 2
    assert {(one["type"], one["data"]["title"], one["data"]["tenant"]) for one in payloads} == {
        ("alert.raised", "Dear", "acme")
    }
    (row,) = [row for row in deliveries() if row["channel"] == "webhook"]
    assert (row["outcome"], row["attempts"]) == ("sent", 1)
    assert alerts.latest(told.tenant.pk)[0].told == {"mail": "sent", "webhook": "sent"}


def test_the_operators_webhook_is_signed_and_tried_again(prices: None, settings: Settings) -> None:
    heard: list[tuple[dict[str, str], bytes]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append((dict(self.headers), self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(500 if len(heard) == 1 else 200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    settings.ALERT_WEBHOOK_URL = f"http://127.0.0.1:{server.server_port}/"
    settings.WEBHOOK_ALLOWED_NETWORKS = ["127.0.0.0/8"]
    alerts.raise_alert("ledger", once="x", title="The ledger check has 1 findings", text="text")
    now = clock.now()

    for minutes in (0, 1, 10):
        alerts.send_due(now=now + timedelta(minutes=minutes))
    server.shutdown()
    server.server_close()

    headers, body = heard[1]
    verified = Webhook(webhook_secret()).verify(body, {name.lower(): value for name, value in headers.items()})
    assert len(heard) == 2
    assert verified["data"]["title"] == "The ledger check has 1 findings"
    (row,) = [row for row in deliveries() if row["channel"] == "webhook"]
    assert (row["outcome"], row["attempts"]) == ("sent", 2)
    assert "answered 500" in row["log"]
