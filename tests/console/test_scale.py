"""Pages ask the same number of questions of the database for few rows and for many, and show what the ledger says."""

from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from console.sites import ops_site
from console.templatetags import humane
from kit import clock
from tenants.models import ApiKey, Budget, Tenant, User
from tests.console.conftest import Cast
from usage import alerts, latencies, pricing, replays, reports, scale, standings

pytestmark = pytest.mark.django_db
PAGES = ("", "alerts/", "budgets/", "settings/", "colleagues/", "tenants/apikey/", "tenants/auditentry/")
SIZE = scale.Size(tenants=5, keys=90, events=1500, days=40)


@pytest.fixture
def seeded(db: None) -> list[Tenant]:
    """The largest tenant and the smallest."""
    pricing.load(pricing.SHIPPED, now=clock.now())
    scale.seed(SIZE, now=clock.now())
    tenants = list(Tenant.objects.filter(slug__startswith="scale-").order_by("slug"))
    assert ApiKey.objects.filter(tenant=tenants[0]).count() > 25 > ApiKey.objects.filter(tenant=tenants[-1]).count()
    return [tenants[0], tenants[-1]]


def owner_of(tenant: Tenant) -> Client:
    client = Client()
    owner = User.objects.get(memberships__tenant=tenant)
    client.force_login(owner, backend="django.contrib.auth.backends.ModelBackend")
    return client


def today_of(tenant: Tenant) -> date:
    return clock.now().astimezone(ZoneInfo(tenant.timezone)).date()


def questions(client: Client, page: str) -> int:
    assert client.get(page).status_code == 200  # what is asked once in a process is asked now
    with CaptureQueriesContext(connection) as asked:
        client.get(page)
    return len(asked)


def test_a_page_asks_as_much_for_a_large_tenant_as_for_a_small_one(seeded: list[Tenant]) -> None:
    large, small = (owner_of(tenant) for tenant in seeded)

    asked = {page: (questions(large, f"/admin/{page}"), questions(small, f"/admin/{page}")) for page in PAGES}

    assert {page: counts for page, counts in asked.items() if counts[0] != counts[1]} == {}


def test_an_operators_page_asks_as_much_with_many_rows_as_with_few(cast: Cast) -> None:
    registered: list[Any] = list(ops_site._registry)
    pages = ["/ops/", *(f"/ops/{one._meta.app_label}/{one._meta.model_name}/" for one in registered)]
    client = cast.client("olga")
    pricing.load(pricing.SHIPPED, now=clock.now())
    few = {page: questions(client, page) for page in pages}

    scale.seed(SIZE, now=clock.now())

    assert {page: questions(client, page) for page in pages} == few


def test_the_overview_says_what_the_ledger_says(seeded: list[Tenant]) -> None:
    tenant = seeded[0]
    today = today_of(tenant)
    report = reports.month(tenant.pk, today)

    page = owner_of(tenant).get("/admin/").content.decode()

    assert f"<dd>{humane.whole(report.total.calls)}</dd>" in page
    assert f"<dd>{humane.dollars(report.total.cost_micros)}</dd>" in page
    assert all(line.title in page for line in (*report.skills[:8], *report.keys[:8]))
    assert sum(day.calls for day in standings.by_day(tenant.pk, month=report.month)) == report.total.calls


def test_a_proposed_budget_is_tried_on_the_last_30_days_before_it_is_saved(seeded: list[Tenant]) -> None:
    before = list(Budget.objects.order_by("pk").values())
    given = {"key": "", "skill": "", "window": "day", "limit_tokens": "5000", "thresholds": "50", "try": ""}

    page = owner_of(seeded[0]).post("/admin/budgets/set/", given).content.decode()

    found = replays.replay(
        seeded[0].pk, proposal=replays.Proposal(limit_tokens=5000, window="day"), now=clock.now(), family_id=None
    )
    assert found.blocked_calls > 0
    assert f"<strong>{found.blocked_calls:,} of {found.calls:,} calls</strong> would have been blocked" in page
    assert f'<td>token budget</td><td class="sg-number">{found.reasons["token budget"]:,}</td>' in page
    assert page.count("<tr><td>") == len(found.reasons) + len(found.days)
    assert list(Budget.objects.order_by("pk").values()) == before


def test_latencies_are_those_of_the_events(seeded: list[Tenant]) -> None:
    yesterday = today_of(seeded[0]) - timedelta(days=1)

    found = latencies.of_tenant(seeded[0].pk, today=yesterday)["month"]

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*), percentile_disc(0.5) WITHIN GROUP (ORDER BY duration_ms) FROM usage_event"
            " WHERE tenant_id = %s AND month = %s AND state IN ('settled', 'estimated')",
            [seeded[0].pk, yesterday.replace(day=1)],
        )
        assert (found.calls, found.median) == cursor.fetchone()
    assert found.median is not None
    assert found.slow is not None
    assert 0 < found.median < found.slow


def test_alerts_are_listed_page_by_page_and_only_ones_own(seeded: list[Tenant]) -> None:
    tenant = seeded[0]
    for number in range(3):  # however young the month is
        for one in seeded[:2]:
            alerts.raise_alert(
                "spend", once=f"{one.pk} {number}", tenant_id=one.pk, title=f"Dear day {number}", text="Look."
            )
    everything = alerts.latest(tenant.pk, most=1000)

    first = alerts.latest(tenant.pk, most=2)
    rest = alerts.latest(tenant.pk, most=1000, before=first[-1].id)

    assert len(everything) > 2
    assert [*first, *rest] == everything
    assert {alert.tenant_id for alert in everything} == {tenant.pk}
    assert everything[0].title in owner_of(tenant).get("/admin/alerts/").content.decode()


def test_an_overview_without_anything_says_how_to_begin(cast: Cast) -> None:
    client = cast.client("alice")
    assert "No calls this month" in client.get("/admin/").content.decode()

    ApiKey.objects.filter(tenant=cast.acme).update(expires_at=clock.now() - timedelta(days=1))

    assert "Begin with a key" in client.get("/admin/").content.decode()
