"""The measurements of `bench.reports`, in one database."""

import resource
import statistics
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db import connection
from django.test import Client
from django.test.utils import setup_test_environment

from kit import clock
from tenants.models import Membership, Tenant, User
from usage import exports, pricing, rollups, scale
from usage.exports import Span

ROUNDS = 9
PER_SECOND = 500
SECONDS = 60
# Calls like those there are, opened now: numbered on, settled, and their days marked as changed.
_MORE = """
WITH chosen AS (
    SELECT e.*, row_number() OVER (PARTITION BY e.tenant_id) AS place, (now() AT TIME ZONE t.timezone)::date AS today
    FROM (SELECT * FROM usage_event WHERE month = %(month)s ORDER BY id LIMIT %(events)s) e JOIN tenants_tenant t ON t.id = e.tenant_id
), made AS (
    INSERT INTO usage_event (
        id, month, day, number, tenant_id, key_id, family_id, run_id, attempt, purpose, request_id, entry_point, skill, skill_version,
        model, state, reserved_tokens, reserved_output_tokens, reserved_micros, input_tokens, output_tokens, cache_write_5m_tokens,
        cache_read_tokens, charged_tokens, cost_micros, price_version, opened_at, lease_until, closed_at
    )
    SELECT gen_random_uuid(), date_trunc('month', s.today)::date, s.today, y.last_number + s.place, s.tenant_id, s.key_id, s.family_id,
           gen_random_uuid(), 1, 'answer', 'req', 'rest', s.skill, 1, s.model, s.state, s.reserved_tokens, s.reserved_output_tokens,
           s.reserved_micros, s.input_tokens, s.output_tokens, s.cache_write_5m_tokens, s.cache_read_tokens, s.charged_tokens,
           s.cost_micros, s.price_version, now(), now(), now()
    FROM chosen s JOIN usage_tenanttally y ON y.tenant_id = s.tenant_id
    RETURNING tenant_id, day, number
), counted AS (
    UPDATE usage_tenanttally y SET last_number = m.last FROM (SELECT tenant_id, max(number) AS last FROM made GROUP BY tenant_id) m
    WHERE m.tenant_id = y.tenant_id
)
INSERT INTO usage_dayrevision AS r (tenant_id, day, revision, rolled_revision) SELECT DISTINCT tenant_id, day, 1, 0 FROM made
ON CONFLICT (tenant_id, day) DO UPDATE SET revision = r.revision + 1
"""


def measure(events: int) -> dict[str, Any]:
    """Seed a database and measure it."""
    setup_test_environment()
    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    now = clock.now()
    pricing.load(pricing.SHIPPED, now=now)
    began = time.monotonic()
    made = scale.seed(scale.Size(tenants=200, keys=600, events=events, days=365), now=now)
    seeded = time.monotonic() - began
    largest = Tenant.objects.get(slug=made.largest)
    month = (now.date().replace(day=1) - timedelta(days=1)).replace(day=1)
    member, operator = _people(largest)
    page = _pages(member, f"/admin/finance/?month={month:%Y-%m}")
    glance = _pages(operator, f"/ops/finance/?month={month:%Y-%m}")
    rows, seconds, memory = _export(largest, Span((now - timedelta(days=365)).date(), now.date()))
    rolled, roll_seconds = _roll(month)
    return {
        "events": made.events,
        "seed_seconds": round(seeded, 1),
        "month_ms": page[0],
        "month_slowest_ms": page[1],
        "platform_ms": glance[0],
        "platform_slowest_ms": glance[1],
        "csv_rows": rows,
        "csv_rows_per_second": round(rows / seconds),
        "csv_memory_mb": round(memory, 1),
        "rolled_events": rolled,
        "roll_seconds": round(roll_seconds, 2),
    }


def _people(tenant: Tenant) -> tuple[Client, Client]:
    member = User.objects.create_user("bench-finance", "finance@bench.example")
    Membership.objects.create(tenant=tenant, user=member, role="finance")
    operator = User.objects.create_superuser("bench-operator", "operator@bench.example", "bench")
    return _signed_in(member), _signed_in(operator)


def _signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def _pages(client: Client, address: str) -> tuple[float, float]:
    client.get(address)  # templates are compiled once
    found = []
    for _ in range(ROUNDS):
        seconds = _seconds(lambda: _asked(client, address))
        found.append(round(1000 * seconds, 1))
    return statistics.median(found), max(found)


def _asked(client: Client, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 200, answer.status_code


def _export(tenant: Tenant, span: Span) -> tuple[int, float, float]:
    """Rows, seconds, and by how many megabytes the process grew at most."""
    before, began, lines = _peak(), time.monotonic(), 0
    for piece in exports.open_export(tenant, "csv", span).pieces:
        lines += piece.count(b"\r\n")
    return lines - 1, time.monotonic() - began, _peak() - before


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _roll(month: Any) -> tuple[int, float]:
    rollups.refresh(most=10**6)
    with connection.cursor() as cursor:
        cursor.execute(_MORE, {"month": month, "events": PER_SECOND * SECONDS})
        cursor.execute("SELECT count(*) FROM usage_event WHERE request_id = 'req'")
        added = int(cursor.fetchone()[0])
        cursor.execute("ANALYZE usage_event")
    return added, _seconds(lambda: rollups.refresh(most=10**6))


def _seconds(work: Callable[[], Any]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began
