"""Changing what a key may do: all live keys of its family together, since limits are counted on the family."""

from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet

from kit import control
from kit.errors import Conflict, InvalidRequest
from tenants import audit
from tenants.keys.scopes import Terms
from tenants.models import ApiKey

_SHARED = (
    "name",
    "allowed_skills",
    "allowed_verbs",
    "allowed_models",
    "allowed_networks",
    "requests_per_minute",
    "tokens_per_minute",
    "concurrent_calls",
)


def change(key: ApiKey, *, terms: Terms, now: datetime, actor: str = "system", address: str = "") -> None:
    """Give a key other terms; its secret, environment and history stay.

    Scopes and limits change for every key of its family that has not ended, the expiry for this one
    alone. Raises `InvalidRequest`, or `Conflict` for a key that has ended; then nothing is written.
    """
    if terms.environment != key.environment:
        raise InvalidRequest("A key keeps its environment. Issue another key for the other one.", field="environment")
    columns = terms.columns(now=now)
    with transaction.atomic():
        family = {row.pk: row for row in live_family(key, now=now).select_for_update()}
        if key.pk not in family:
            raise Conflict("This key has ended. Issue a new one instead.")
        before = _difference(family[key.pk], columns)
        if not before:
            return
        shared = {name: columns[name] for name in _SHARED}
        live_family(key, now=now).update(**shared)
        ApiKey.objects.filter(pk=key.pk).update(expires_at=columns["expires_at"])
        audit.record(
            "key.changed",
            tenant=key.tenant,
            actor=actor,
            address=address,
            subject=key.public_id,
            before={name: _plain(value) for name, value in before.items()},
            after={name: _plain(columns[name]) for name in before},
        )
        for key_id in family:
            control.publish("key.changed", key_id=key_id)
    for name, value in columns.items():
        setattr(key, name, value)


def live_family(key: ApiKey, *, now: datetime) -> QuerySet[ApiKey]:
    """Return the keys of a key's chain of rotations that have not ended."""
    first = key.family_id or key.pk
    return ApiKey.objects.filter(
        Q(pk=first) | Q(family=first),
        Q(expires_at=None) | Q(expires_at__gt=now),
        tenant_id=key.tenant_id,
        revoked_at=None,
    )


def _difference(key: ApiKey, columns: dict[str, Any]) -> dict[str, Any]:
    return {name: getattr(key, name) for name in (*_SHARED, "expires_at") if getattr(key, name) != columns[name]}


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
