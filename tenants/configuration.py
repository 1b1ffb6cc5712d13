"""What a tenant decides for itself: its name and time zone, who hears alerts, what is kept, which models may run."""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction

from kit import control
from kit.errors import InvalidRequest
from tenants import audit
from tenants.keys import scopes
from tenants.models import Tenant
from tenants.tenants import known_timezone

MOST_RECIPIENTS = 20
LONGEST_RETENTION_DAYS = 3650


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Everything of it, as it shall be."""

    name: str
    timezone: str
    alert_recipients: Iterable[str] = ()
    retention_days: int = 30
    logs_prompts: bool = False
    allowed_models: Iterable[str] = ()
    allows_fallback: bool = True
    messages_policy: dict[str, Any] = field(default_factory=dict)

    def columns(self) -> dict[str, Any]:
        """Return the tenant's columns; raises `InvalidRequest` for the first that cannot be."""
        return {
            "name": scopes.label(self.name, field="name", longest=200),
            "timezone": known_timezone(self.timezone),
            "alert_recipients": recipients(self.alert_recipients),
            "retention_days": scopes.count(self.retention_days, field="retention_days", most=LONGEST_RETENTION_DAYS),
            "logs_prompts": bool(self.logs_prompts),
            "allowed_models": scopes.names(self.allowed_models, field="allowed_models"),
            "allows_fallback": bool(self.allows_fallback),
            "messages_policy": self.messages_policy,
        }


NAMES = tuple(one.name for one in fields(Configuration))


def configure(tenant: Tenant, *, wanted: Configuration, actor: str, address: str = "") -> None:
    """Put a configuration into force and record what changed; nothing changed, nothing recorded.

    Raises `InvalidRequest`, and then nothing is written.
    """
    columns = wanted.columns()
    with transaction.atomic():
        found = Tenant.objects.select_for_update().get(pk=tenant.pk)
        before = {name: getattr(found, name) for name in NAMES if getattr(found, name) != columns[name]}
        if before:
            Tenant.objects.filter(pk=found.pk).update(**{name: columns[name] for name in before})
            after = {name: columns[name] for name in before}
            audit.record(
                "tenant.configured",
                tenant=found,
                actor=actor,
                address=address,
                subject=found.slug,
                before=before,
                after=after,
            )
            control.publish("tenant.changed", tenant_id=found.pk)
    for name, value in columns.items():
        setattr(tenant, name, value)


def recipients(addresses: Iterable[str]) -> list[str]:
    """Return mail addresses without repetition; raises `InvalidRequest` for the first that is none."""
    found = list(dict.fromkeys(address.strip() for address in addresses if address.strip()))
    if len(found) > MOST_RECIPIENTS:
        raise InvalidRequest(f"Give at most {MOST_RECIPIENTS} recipients.", field="alert_recipients")
    for address in found:
        try:
            validate_email(address)
        except ValidationError:
            raise InvalidRequest(f"{address!r} is no mail address.", field="alert_recipients") from None
    return found
