"""The tenants of a seeded database with their keys and owners: the first are large, most are small."""

import hashlib
from datetime import datetime, timedelta
from itertools import pairwise
from random import Random
from uuid import UUID

from kit import ids
from tenants.models import ApiKey, Membership, Tenant, User

SLUG = "scale-"
_ZONES = ("Europe/Berlin", "America/New_York", "UTC", "Asia/Tokyo", "Australia/Sydney", "America/Sao_Paulo")
_PURPOSES = ("backend", "support", "mailbox", "search", "mobile", "reports", "nightly", "staging")
_AT_ONCE = 5000
_UNUSABLE = "!"


def shares(count: int, of: int) -> list[int]:
    """Divide `of` things among `count` owners, each at least one, the first the most."""
    weights = [1 / (rank + 2) for rank in range(count)]
    spare, total = of - count, sum(weights)
    bounds = [0, *(round(spare * sum(weights[: rank + 1]) / total) for rank in range(count))]
    return [1 + after - before for before, after in pairwise(bounds)]


def make_tenants(count: int, *, since: datetime) -> list[Tenant]:
    """Create the tenants, each with an owner who cannot sign in."""
    tenants = [
        Tenant(
            slug=f"{SLUG}{number:04}", name=f"Scale {number}", timezone=_ZONES[number % len(_ZONES)], created_at=since
        )
        for number in range(1, count + 1)
    ]
    Tenant.objects.bulk_create(tenants, batch_size=_AT_ONCE)
    owners = [
        User(username=f"{tenant.slug}-owner", email=f"{tenant.slug}@example.com", password=_UNUSABLE)
        for tenant in tenants
    ]
    User.objects.bulk_create(owners, batch_size=_AT_ONCE)
    Membership.objects.bulk_create(
        [
            Membership(tenant=tenant, user=owner, role=Membership.Role.OWNER)
            for tenant, owner in zip(tenants, owners, strict=True)
        ],
        batch_size=_AT_ONCE,
    )
    return tenants


def make_keys(tenants: list[Tenant], *, count: int, random: Random, since: datetime, now: datetime) -> list[ApiKey]:
    """Create the keys; nobody knows a secret of theirs, so none of them can call."""
    made = [
        _key(tenant, number, random=random, since=since, now=now)
        for tenant, share in zip(tenants, shares(len(tenants), count), strict=True)
        for number in range(1, share + 1)
    ]
    return ApiKey.objects.bulk_create(made, batch_size=_AT_ONCE)


def _key(tenant: Tenant, number: int, *, random: Random, since: datetime, now: datetime) -> ApiKey:
    digest = hashlib.sha256(f"{tenant.slug}/{number}".encode()).digest()
    is_revoked, expires = random.random() < 0.05, random.random() < 0.1
    return ApiKey(
        tenant=tenant,
        public_id=ids.encode("key", UUID(bytes=digest[:16])),
        name=f"{_PURPOSES[number % len(_PURPOSES)]} {number}",
        environment="test" if number % 8 == 7 else "live",
        digest=digest,
        pepper_id="none",
        display=f"sg_live_{digest.hex()[:4]}…{digest.hex()[-4:]}",
        created_at=since,
        last_used_at=None if random.random() < 0.1 else now - timedelta(seconds=random.randrange(400_000)),
        expires_at=now + timedelta(days=random.randrange(1, 400)) if expires else None,
        revoked_at=now - timedelta(hours=random.randrange(200)) if is_revoked else None,
        revoked_reason="no longer needed" if is_revoked else "",
    )
