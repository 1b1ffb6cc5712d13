"""The life of keys and tenants: issued, rotated, revoked, suspended."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kit.errors import Conflict, InvalidRequest
from tenants import keys, tenants
from tenants.models import ApiKey, AuditEntry, Budget, Tenant
from tests.factories import make_key, make_tenant

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def issue(tenant: Tenant, **options: Any) -> keys.Issued:
    return keys.issue(tenant, **{"name": "web", "now": NOW, "monthly_token_budget": 1000, **options})


def test_issue_makes_a_key_its_budget_and_an_audit_entry() -> None:
    tenant = make_tenant()

    issued = issue(tenant, environment="test", allowed_networks=["192.0.2.7/24"], actor="alice", address="192.0.2.1")

    key = ApiKey.objects.get()
    assert issued.secret.startswith("sg_test_")
    assert (key.pk, key.tenant_id, len(bytes(key.digest)), key.pepper_id) == (issued.key.pk, tenant.pk, 32, "1")
    assert key.public_id.startswith("key_")
    assert key.allowed_networks == ["192.0.2.0/24"]
    assert Budget.objects.get(key=key).limit_tokens == 1000
    entry = AuditEntry.objects.get(action="key.issued")
    assert (entry.tenant_id, entry.actor, entry.subject, entry.address) == (
        tenant.pk,
        "alice",
        key.public_id,
        "192.0.2.1",
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": " "},
        {"name": "x" * 101},
        {"name": "two\nlines"},
        {"environment": "prod"},
        {"monthly_token_budget": 0},
        {"monthly_token_budget": True},
        {"requests_per_minute": 0},
        {"tokens_per_minute": -1},
        {"concurrent_calls": 1.5},
        {"requests_per_minute": 10**9},
        {"allowed_skills": ["no spaces"]},
        {"allowed_verbs": ["fly"]},
        {"allowed_models": [""]},
        {"allowed_networks": ["300.0.0.0/8"]},
        {"expires_at": NOW},
        {"expires_at": datetime(2030, 1, 1)},  # noqa: DTZ001 - a naive instant is what is refused here
    ],
)
def test_issue_refuses_what_cannot_be_and_writes_nothing(wrong: dict[str, Any]) -> None:
    tenant = make_tenant()
    entries = AuditEntry.objects.count()

    with pytest.raises(InvalidRequest) as raised:
        issue(tenant, **wrong)

    assert raised.value.details["field"] in wrong
    assert not ApiKey.objects.exists()
    assert Budget.objects.filter(key__isnull=False).count() == 0
    assert AuditEntry.objects.count() == entries


def test_rotate_makes_a_successor_on_the_same_family_limits_and_budget() -> None:
    first = issue(make_tenant(), requests_per_minute=7, allowed_skills=["summarize"])

    second = keys.rotate(first.key, overlap=timedelta(hours=1), now=NOW)
    third = keys.rotate(second.key, overlap=timedelta(0), now=NOW)

    assert first.key.expires_at == NOW + timedelta(hours=1)
    assert ApiKey.objects.get(pk=second.key.pk).expires_at == NOW
    assert [issued.key.family_id for issued in (first, second, third)] == [None, first.key.pk, first.key.pk]
    assert third.key.rotated_from_id == second.key.pk
    assert (third.key.requests_per_minute, third.key.allowed_skills) == (7, ["summarize"])
    assert third.key.expires_at is None
    assert Budget.objects.filter(key__isnull=False).get().key_id == first.key.pk
    assert len({issued.secret for issued in (first, second, third)}) == 3


def test_rotate_never_prolongs_the_old_key_and_gives_the_successor_the_same_lifetime() -> None:
    issued = issue(make_tenant(), expires_at=NOW + timedelta(hours=2))
    ApiKey.objects.update(created_at=NOW - timedelta(days=29, hours=22))

    successor = keys.rotate(issued.key, overlap=timedelta(hours=24), now=NOW)

    assert issued.key.expires_at == NOW + timedelta(hours=2)
    assert successor.key.expires_at == NOW + timedelta(days=30)


@pytest.mark.parametrize("overlap", [timedelta(seconds=-1), timedelta(hours=24, seconds=1)])
def test_rotate_refuses_an_overlap_out_of_range(overlap: timedelta) -> None:
    issued = issue(make_tenant())

    with pytest.raises(InvalidRequest):
        keys.rotate(issued.key, overlap=overlap, now=NOW)

    assert ApiKey.objects.count() == 1


def test_rotate_refuses_an_ended_key_and_one_that_has_a_successor() -> None:
    tenant = make_tenant()
    revoked, rotated = issue(tenant), issue(tenant)
    expired = issue(tenant, expires_at=NOW + timedelta(hours=1))
    keys.revoke(revoked.key, reason="leaked", now=NOW)
    keys.rotate(rotated.key, overlap=timedelta(hours=24), now=NOW)

    for key in (revoked.key, rotated.key, expired.key):
        with pytest.raises(Conflict):
            keys.rotate(key, overlap=timedelta(hours=1), now=NOW + timedelta(hours=1))

    assert ApiKey.objects.count() == 4


def test_revoke_is_for_good_and_says_so_once() -> None:
    issued = issue(make_tenant())

    keys.revoke(issued.key, reason="leaked", now=NOW, actor="alice")
    keys.revoke(issued.key, reason="again", now=NOW + timedelta(hours=1), actor="bob")

    key = ApiKey.objects.get()
    assert (key.revoked_at, key.revoked_reason) == (NOW, "leaked")
    assert issued.key.revoked_at == NOW
    assert AuditEntry.objects.get(action="key.revoked").actor == "alice"


def test_a_tenant_is_created_with_a_budget_and_its_slug_is_its_own() -> None:
    tenant = make_tenant(timezone="Europe/Berlin", monthly_token_budget=5)

    with pytest.raises(Conflict):
        make_tenant()

    assert Budget.objects.get(tenant=tenant, key=None).limit_tokens == 5
    assert AuditEntry.objects.get().action == "tenant.created"


@pytest.mark.parametrize(
    "wrong",
    [
        {"slug": "Acme"},
        {"slug": "-a"},
        {"slug": "a" * 64},
        {"timezone": "Europe/Atlantis"},
        {"timezone": "../etc/passwd"},
        {"name": ""},
    ],
)
def test_a_tenant_that_cannot_be_is_refused_and_nothing_is_written(wrong: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest):
        make_tenant(**wrong)

    assert not Tenant.objects.exists()
    assert not AuditEntry.objects.exists()


def test_suspending_and_resuming_are_recorded_once_each() -> None:
    tenant = make_tenant()

    for _ in range(2):
        tenants.suspend(tenant, reason="unpaid", now=NOW)
    assert Tenant.objects.get().status == "suspended"
    for _ in range(2):
        tenants.resume(tenant, now=NOW)

    assert Tenant.objects.get().status == "active"
    assert [entry.action for entry in AuditEntry.objects.order_by("id")] == [
        "tenant.created",
        "tenant.suspended",
        "tenant.resumed",
    ]


def test_issued_keys_do_not_show_their_secret_when_printed() -> None:
    issued = make_key(make_tenant())

    assert issued.secret not in repr(issued)
