"""A seeded database: as large as asked, and true."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import transaction
from django.db.models import Sum

from kit.errors import Conflict
from tenants.models import ApiKey, AuditEntry, Tenant
from tests.usage.desk import Desk, closing_pool, settled
from usage import ledger, scale, seals, verification
from usage.alerts.models import AlertDelivery
from usage.models import DailyUsage, UsageEvent

pytestmark = pytest.mark.usefixtures("prices")
NOW = datetime(2026, 3, 29, 12, tzinfo=UTC)  # the day on which Berlin skips an hour
SIZE = scale.Size(tenants=6, keys=30, events=3000, days=40)


def findings_once_sealed() -> list[verification.Finding]:
    assert seals.seal_due(within=600) > 100
    return verification.verify().findings


def test_a_seeded_database_has_the_size_that_was_asked_for_and_is_true() -> None:
    made = scale.seed(SIZE, now=NOW)

    assert made == scale.Seeded(tenants=6, keys=30, events=3000, largest="scale-0001")
    assert (Tenant.objects.count(), ApiKey.objects.count(), UsageEvent.objects.count()) == (6, 30, 3000)
    assert DailyUsage.objects.aggregate(calls=Sum("calls"))["calls"] == 3000
    assert set(UsageEvent.objects.values_list("state", flat=True)) == {"settled", "released", "estimated"}
    assert AuditEntry.objects.filter(action="key.issued").count() == 30
    assert not AlertDelivery.objects.filter(outcome="pending").exists()
    assert findings_once_sealed() == []


def test_the_same_seed_makes_the_same_use() -> None:
    assert _figures_of_a_seeding() == _figures_of_a_seeding()


def test_a_database_with_use_of_its_own_is_left_alone_unless_told(desk: Desk) -> None:
    asyncio.run(closing_pool(lambda: _one_call(desk)))

    with pytest.raises(Conflict, match="usage of its own"):
        scale.seed(SIZE, now=NOW)
    assert Tenant.objects.count() == 1

    scale.seed(SIZE, now=NOW, beside_real_data=True)
    assert UsageEvent.objects.count() == 3001
    assert findings_once_sealed() == []

    with pytest.raises(Conflict, match="seeded already"):
        scale.seed(SIZE, now=NOW, beside_real_data=True)


async def _one_call(desk: Desk) -> None:
    await ledger.settle(await desk.reserve(100), settled(60))


def _figures_of_a_seeding() -> list[Any]:
    with transaction.atomic():
        scale.seed(SIZE, now=NOW)
        events = UsageEvent.objects.order_by("opened_at", "id")
        found = list(events.values_list("id", "key__name", "model", "cost_micros"))
        transaction.set_rollback(True)
    return found
