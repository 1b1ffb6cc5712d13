"""Seeding a database for measurements: the same size and seed make the same tenants, keys and events."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from django.db import connection, transaction

from kit.errors import Conflict, InvalidRequest
from tenants.models import Tenant
from usage.models import UsageEvent
from usage.scale import books, events, people

_MEMORY = "SET LOCAL work_mem = '256MB'; SET LOCAL maintenance_work_mem = '512MB'; SET LOCAL jit = off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much there is to be, and over how many days up to now."""

    tenants: int = 200
    keys: int = 5_000
    events: int = 2_000_000
    days: int = 45


@dataclass(frozen=True, slots=True)
class Seeded:
    """What was made; the first of the tenants is the largest."""

    tenants: int
    keys: int
    events: int
    largest: str


def seed(size: Size, *, now: datetime, random_seed: int = 1, beside_real_data: bool = False) -> Seeded:
    """Make tenants with keys, use, budgets and rollups that are true by `verify_ledger`.

    All or nothing. Raises `Conflict` where there was use before, unless that is allowed, and
    where it was seeded already; `InvalidRequest` for a size that cannot be.
    """
    _refuse_nonsense(size)
    if Tenant.objects.filter(slug__startswith=people.SLUG).exists():
        raise Conflict("This database was seeded already.")
    if UsageEvent.objects.exists() and not beside_real_data:
        raise Conflict("This database has usage of its own. Seed another one, or say --beside-real-data.")
    since = now - timedelta(days=size.days)
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(_MEMORY)
        tenants = people.make_tenants(size.tenants, since=since)
        chance = Random(random_seed)  # noqa: S311 - repeatable is what it has to be
        keys = people.make_keys(tenants, count=size.keys, random=chance, since=since, now=now)
        events.make(tenants, count=size.events, days=size.days, seed=random_seed, now=now)
        books.make(tenants, now=now)
    return Seeded(len(tenants), len(keys), size.events, tenants[0].slug)


def _refuse_nonsense(size: Size) -> None:
    if not 1 <= size.tenants <= size.keys:
        raise InvalidRequest("Give at least one tenant, and each of them a key.")
    if size.events < 0 or not 1 <= size.days <= 3660:
        raise InvalidRequest("Give 0 or more events on 1 to 3660 days.")
