"""A tenant's own Anthropic key: written, replaced, removed, and read by nobody but the call that needs it."""

import re
from datetime import datetime

from django.db import transaction

from kit import control, pg
from kit.errors import InvalidRequest
from tenants import audit, seals
from tenants.models import Tenant

_FORM = re.compile(r"sk-ant-[A-Za-z0-9_-]{16,250}", re.ASCII)


def store(tenant: Tenant, *, secret: str, now: datetime, actor: str, address: str = "") -> None:
    """Keep a tenant's own key, sealed; raises `InvalidRequest` for what cannot be one."""
    if not _FORM.fullmatch(secret):
        raise InvalidRequest("An Anthropic key starts with `sk-ant-`. Copy it whole.", field="provider_key")
    display = f"{secret[:7]}…{secret[-4:]}"
    with transaction.atomic():
        _write(tenant, sealed=seals.seal(secret), display=display, now=now)
        _record("tenant.provider_key_stored", tenant, actor=actor, address=address, display=display)


def remove(tenant: Tenant, *, actor: str, address: str = "") -> None:
    """Forget a tenant's own key; its calls go by the platform's again."""
    with transaction.atomic():
        _write(tenant, sealed=None, display="", now=None)
        _record("tenant.provider_key_removed", tenant, actor=actor, address=address)


async def reveal(tenant_id: int) -> str | None:
    """Return the key to make a tenant's calls with; None for the platform's own."""
    row = await pg.fetch_one("SELECT provider_key_sealed AS sealed FROM tenants_tenant WHERE id = %s", (tenant_id,))
    return seals.unseal(row["sealed"]) if row and row["sealed"] is not None else None


def reseal_all() -> int:
    """Seal every stored key anew under the first of the field keys and return how many there are."""
    with transaction.atomic():
        found = list(Tenant.objects.select_for_update().exclude(provider_key_sealed=None))
        for tenant in found:
            tenant.provider_key_sealed = seals.reseal(bytes(tenant.provider_key_sealed or b""))
            tenant.save(update_fields=["provider_key_sealed"])
    return len(found)


def _write(tenant: Tenant, *, sealed: bytes | None, display: str, now: datetime | None) -> None:
    tenant.provider_key_sealed, tenant.provider_key_display, tenant.provider_key_set_at = sealed, display, now
    tenant.save(update_fields=["provider_key_sealed", "provider_key_display", "provider_key_set_at"])


def _record(action: str, tenant: Tenant, *, actor: str, address: str, **details: str) -> None:
    audit.record(action, tenant=tenant, actor=actor, address=address, subject=tenant.slug, **details)
    control.publish("tenant.changed", tenant_id=tenant.pk)
