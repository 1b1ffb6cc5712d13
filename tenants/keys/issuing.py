"""The life of a key: issued, rotated, revoked; each with its audit entry in one transaction."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from kit import control, ids
from kit.errors import Conflict, InvalidRequest
from tenants import audit
from tenants.keys import form, scopes
from tenants.models import ApiKey, Budget, Tenant, User

LONGEST_OVERLAP = timedelta(hours=24)
_INHERITED = (
    "name",
    "environment",
    "allowed_skills",
    "allowed_verbs",
    "allowed_models",
    "allowed_networks",
    "requests_per_minute",
    "tokens_per_minute",
    "concurrent_calls",
)


@dataclass(frozen=True, slots=True)
class Issued:
    """A new key with its secret, which exists nowhere else and is shown once."""

    key: ApiKey
    secret: str = field(repr=False)


def issue(
    tenant: Tenant,
    *,
    name: str,
    now: datetime,
    monthly_token_budget: int,
    environment: str = "live",
    requests_per_minute: int = 60,
    tokens_per_minute: int = 200_000,
    concurrent_calls: int = 20,
    allowed_skills: Iterable[str] = (),
    allowed_verbs: Iterable[str] = (),
    allowed_models: Iterable[str] = (),
    allowed_networks: Iterable[str] = (),
    expires_at: datetime | None = None,
    created_by: User | None = None,
    actor: str = "system",
    address: str = "",
) -> Issued:
    """Create a key with its monthly budget. Raises `InvalidRequest`, and then nothing is written."""
    terms = scopes.Terms(
        name=name,
        environment=environment,
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        concurrent_calls=concurrent_calls,
        allowed_skills=allowed_skills,
        allowed_verbs=allowed_verbs,
        allowed_models=allowed_models,
        allowed_networks=allowed_networks,
        expires_at=expires_at,
    )
    columns = terms.columns(now=now)
    budget = scopes.count(monthly_token_budget, field="monthly_token_budget", most=scopes.MOST_TOKENS)
    with transaction.atomic():
        issued = _create(tenant, created_by=created_by, columns=columns)
        Budget.objects.create(tenant=tenant, key=issued.key, limit_tokens=budget)
        _record("key.issued", issued.key, actor=actor, address=address, name=issued.key.name, monthly_tokens=budget)
    return issued


def rotate(
    key: ApiKey,
    *,
    overlap: timedelta,
    now: datetime,
    created_by: User | None = None,
    actor: str = "system",
    address: str = "",
) -> Issued:
    """Issue a successor that draws on the same limits and budget; the old key ends after `overlap`.

    The successor lives as long as its predecessor was given. Raises `InvalidRequest` for an
    overlap outside of 0 to 24 hours, `Conflict` for a key that has ended or has a successor.
    """
    if not timedelta(0) <= overlap <= LONGEST_OVERLAP:
        raise InvalidRequest("Give the overlap 0 to 24 hours.", field="overlap")
    with transaction.atomic():
        old = ApiKey.objects.select_for_update().select_related("tenant").get(pk=key.pk)
        _refuse_unless_rotatable(old, now=now)
        columns = {column: getattr(old, column) for column in _INHERITED}
        lifetime = old.expires_at - old.created_at if old.expires_at else None
        columns |= {
            "family_id": old.family_id or old.pk,
            "rotated_from": old,
            "expires_at": now + lifetime if lifetime else None,
        }
        issued = _create(old.tenant, created_by=created_by, columns=columns)
        old.expires_at = min(filter(None, (old.expires_at, now + overlap)))
        old.save(update_fields=["expires_at"])
        _record("key.rotated", old, actor=actor, address=address, to=issued.key.public_id, ends=str(old.expires_at))
        control.publish("key.rotated", key_id=old.pk)
    key.expires_at = old.expires_at
    return issued


def revoke(key: ApiKey, *, reason: str, now: datetime, actor: str = "system", address: str = "") -> None:
    """End a key for good; again changes nothing. Raises `InvalidRequest` without a reason."""
    why = scopes.label(reason, field="reason", longest=200)
    with transaction.atomic():
        found = ApiKey.objects.select_for_update().select_related("tenant").get(pk=key.pk)
        if found.revoked_at is None:
            found.revoked_at, found.revoked_reason = now, why
            found.save(update_fields=["revoked_at", "revoked_reason"])
            _record("key.revoked", found, actor=actor, address=address, reason=why)
        control.publish("key.revoked", key_id=found.pk)
    key.revoked_at, key.revoked_reason = found.revoked_at, found.revoked_reason


def _refuse_unless_rotatable(key: ApiKey, *, now: datetime) -> None:
    if key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= now):
        raise Conflict("This key has ended. Issue a new one instead.")
    if ApiKey.objects.filter(rotated_from=key).exists():
        raise Conflict("This key has been rotated already. Rotate its successor instead.")


def _create(tenant: Tenant, *, created_by: User | None, columns: dict[str, Any]) -> Issued:
    secret = form.generate(columns["environment"])
    pepper_id, digest = next(iter(form.digests(secret).items()))
    key = ApiKey.objects.create(
        tenant=tenant,
        public_id=ids.encode("key", ids.uuid7()),
        digest=digest,
        pepper_id=pepper_id,
        display=form.display(secret),
        created_by=created_by,
        **columns,
    )
    return Issued(key, secret)


def _record(action: str, key: ApiKey, *, actor: str, address: str, **details: Any) -> None:
    audit.record(
        action,
        tenant=key.tenant,
        actor=actor,
        address=address,
        subject=key.public_id,
        display=key.display,
        **details,
    )
