"""The life of a tenant: created, suspended, resumed; each with its audit entry in one transaction."""

import re
from datetime import datetime
from zoneinfo import ZoneInfo, available_timezones

from django.db import IntegrityError, transaction

from kit import control
from kit.errors import Conflict, InvalidRequest
from tenants import audit
from tenants.keys import scopes
from tenants.models import Budget, Tenant

_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)


def create(
    slug: str,
    *,
    name: str,
    monthly_token_budget: int,
    timezone: str = "UTC",
    actor: str = "system",
    address: str = "",
) -> Tenant:
    """Create a tenant with its monthly budget.

    Raises `InvalidRequest`, or `Conflict` when the slug is taken; then nothing is written.
    """
    if not _SLUG.fullmatch(slug):
        raise InvalidRequest("Give `slug` 1 to 63 of a-z, 0-9 and inner hyphens.", field="slug")
    title = scopes.label(name, field="name", longest=200)
    zone = known_timezone(timezone)
    budget = scopes.count(monthly_token_budget, field="monthly_token_budget", most=scopes.MOST_TOKENS)
    try:
        with transaction.atomic():
            tenant = Tenant.objects.create(slug=slug, name=title, timezone=zone)
            Budget.objects.create(tenant=tenant, limit_tokens=budget)
            audit.record(
                "tenant.created", tenant=tenant, actor=actor, address=address, subject=slug, monthly_tokens=budget
            )
    except IntegrityError:
        raise Conflict(f"A tenant with the slug {slug} exists already. Choose another slug.") from None
    return tenant


def known_timezone(name: str) -> str:
    """Return an IANA time zone's name if it is known; raises `InvalidRequest`."""
    if name not in available_timezones() or ZoneInfo(name).key != name:
        raise InvalidRequest(
            f"{name!r} is no IANA time zone. Give one such as `Europe/Berlin` or `UTC`.", field="timezone"
        )
    return name


def suspend(tenant: Tenant, *, reason: str, now: datetime, actor: str = "system", address: str = "") -> None:
    """Stop every key of a tenant until it is resumed; again changes nothing."""
    why = scopes.label(reason, field="reason", longest=200)
    _move(tenant, Tenant.Status.SUSPENDED, now=now, actor=actor, address=address, reason=why)


def treat_unpriced(tenant: Tenant, *, policy: str, actor: str = "system", address: str = "") -> None:
    """Say what becomes of a tenant's calls of models without a price: `refuse`, `flag`, or empty.

    Empty is the platform's own policy. It counts within a minute. Raises `InvalidRequest`.
    """
    if policy not in {"", "refuse", "flag"}:
        raise InvalidRequest("Set the policy to `refuse`, `flag`, or nothing for the platform's own.", field="policy")
    with transaction.atomic():
        if Tenant.objects.filter(pk=tenant.pk).exclude(unpriced_models=policy).update(unpriced_models=policy):
            audit.record(
                "tenant.unpriced_models",
                tenant=tenant,
                actor=actor,
                address=address,
                subject=tenant.slug,
                before={"unpriced_models": tenant.unpriced_models},
                after={"unpriced_models": policy},
            )
    tenant.unpriced_models = policy


def resume(tenant: Tenant, *, now: datetime, actor: str = "system", address: str = "") -> None:
    """Let a suspended tenant's keys work again."""
    _move(tenant, Tenant.Status.ACTIVE, now=now, actor=actor, address=address)


def _move(tenant: Tenant, status: Tenant.Status, *, now: datetime, actor: str, address: str, reason: str = "") -> None:
    action = "tenant.suspended" if status == Tenant.Status.SUSPENDED else "tenant.resumed"
    with transaction.atomic():
        if Tenant.objects.filter(pk=tenant.pk).exclude(status=status).update(status=status):
            audit.record(
                action,
                tenant=tenant,
                actor=actor,
                address=address,
                subject=tenant.slug,
                at=now.isoformat(),
                reason=reason,
            )
        control.publish(action, tenant_id=tenant.pk)
    tenant.status = status
