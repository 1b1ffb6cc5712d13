"""Closing a month from the console: by finance, behind the wall, once; and what operators look at."""

import json
from collections.abc import Callable
from datetime import date

from django.test import Client

from kit import clock
from tenants.models import AuditEntry, Membership, Tenant, User
from tests.finance.books import tamper, use
from tests.usage.desk import Desk, look, open_desk
from usage import alerts, closing, reconciliation, seals, tasks
from usage.reconciliation.models import Reconciliation

SetClock = Callable[[str], None]
JULY = date(2026, 7, 1)


def signed_in(tenant: Tenant | None, role: str) -> Client:
    user = User.objects.create(username=role, email=f"{role}@example.com", is_superuser=tenant is None)
    if tenant is not None:
        Membership.objects.create(tenant=tenant, user=user, role=role)
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def july(set_clock: SetClock) -> Desk:
    set_clock("2026-07-10 12:00:00+00")
    desk = open_desk()
    use(desk, [10, 20])
    set_clock("2026-08-02 12:00:00+00")
    return desk


def test_finance_closes_a_month_and_hands_out_its_receipt(prices: None, set_clock: SetClock) -> None:
    desk = july(set_clock)
    fiona, ada = signed_in(desk.tenant, "finance"), signed_in(desk.tenant, "admin")
    assert "Close" in fiona.get("/admin/months/").content.decode()
    assert ada.post("/admin/months/close/?month=2026-07").status_code == 403
    refused = fiona.post("/admin/months/close/?month=2026-08").content.decode()
    assert "is not over yet" in refused
    assert look("SELECT id FROM usage_statement") == []

    assert fiona.get("/admin/months/close/?month=2026-07").status_code == 200
    done = fiona.post("/admin/months/close/?month=2026-07")

    assert (done.status_code, done.headers["Location"]) == (302, "/admin/months/")
    statement = closing.statement_of(desk.tenant.pk, JULY)
    assert statement is not None
    assert statement.closed_by == AuditEntry.objects.get(action="month.closed").actor == "finance"
    assert "is closed already, by statement 1" in fiona.post("/admin/months/close/?month=2026-07").content.decode()
    receipt = json.loads(ada.get("/admin/months/receipt.json?month=2026-07").content)
    assert [len(seal["rows"]) for seal in receipt["seals"]] == [2]
    assert fiona.get("/admin/months/receipt.json?month=2026-06").status_code == 302
    assert fiona.get("/admin/months/close/").status_code == 302


def test_a_tenant_reads_its_own_deliveries_alone(prices: None, set_clock: SetClock) -> None:
    desk, other = july(set_clock), open_desk("other")
    for tenant, title in ((desk.tenant, "Dear day"), (other.tenant, "Not yours"), (None, "Ours alone")):
        alerts.raise_alert("spend", once=title, tenant_id=tenant.pk if tenant else None, title=title, text="text")
    alerts.send_due(now=clock.now())

    page = signed_in(desk.tenant, "owner").get("/admin/alerts/log/").content.decode()
    everything = signed_in(None, "olga").get("/ops/alert-log/").content.decode()

    assert "Dear day" in page
    assert "nobody to tell" in page
    assert "Not yours" not in page
    assert "Ours alone" not in page
    assert all(title in everything for title in ("Dear day", "Not yours", "Ours alone"))


def test_operators_see_what_the_checks_found_and_close_months(prices: None, set_clock: SetClock) -> None:
    desk = july(set_clock)
    olga = signed_in(None, "olga")
    assert "was not checked yet" in olga.get("/ops/ledger/").content.decode()
    tasks.seal_days()
    tamper("UPDATE usage_event SET cost_micros = 11 WHERE number = 1")
    tasks.verify_ledger()
    kept = Reconciliation.objects.create(
        day=JULY,
        source="api",
        has_costs=True,
        ours_micros=30,
        theirs_micros=31,
        buckets=dict.fromkeys(reconciliation.BUCKETS, 0) | {"price": 1},
        lines=[
            {
                "model": "claude-haiku-4-5",
                "tier": "standard",
                "token_class": "input",
                "ours": 3,
                "theirs": 3,
                "buckets": {},
            }
        ],
        is_within_tolerance=True,
    )

    ledger = olga.get("/ops/ledger/").content.decode()
    days = olga.get("/ops/reconciliation/").content.decode()
    day = olga.get(f"/ops/reconciliation/{kept.pk}/").content.decode()

    assert "changed after it was sealed" in ledger
    assert seals.public_keys()[0]["public_key"] in ledger
    assert "$0.000001" in days
    assert "claude-haiku-4-5" in day
    assert olga.get("/ops/reconciliation/999/").status_code == 404
    address = f"/ops/finance/{desk.tenant.pk}/months/"
    assert "Close" in olga.get(address).content.decode()
    assert olga.post(f"{address}close/?month=2026-07").status_code == 302
    assert closing.standings(desk.tenant.pk)[1].closed_by == "olga"
