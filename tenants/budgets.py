"""Budgets: set, raised for a time, removed; each with its audit entry in one transaction.

A change counts from the next admission on. What was used before is not forgotten: a budget made
in the middle of its window starts with what its scope has used in it.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import transaction

from kit.errors import Conflict, InvalidRequest, NotFound
from tenants import audit
from tenants.configuration import recipients
from tenants.keys import scopes
from tenants.models import ApiKey, Budget, BudgetIncrease, Tenant, User

MOST_MICROS = 10**15
_DEFAULT_THRESHOLDS = (50, 80, 100)
_MOST_PERCENT = 1000
_MOST_THRESHOLDS = 10


def set_budget(
    tenant: Tenant,
    *,
    now: datetime,
    key: ApiKey | None = None,
    skill: str = "",
    window: str = "month",
    limit_tokens: int | None = None,
    limit_micros: int | None = None,
    thresholds: Sequence[int] | None = None,
    alert_recipients: Sequence[str] | None = None,
    actor: str = "system",
    address: str = "",
) -> Budget:
    """Make or replace the budget of a tenant, or of a key's family, for all skills or one.

    `window` is `month` or `day`; limits are in tokens and micro-dollars, at least one of them;
    `thresholds` are percentages that alert once each, `alert_recipients` mail addresses that hear of
    them besides those who hear all of the tenant's (None keeps what is set, of either). Raises
    `InvalidRequest`, or `NotFound` for another tenant's key; then nothing is written.
    """
    limits = _limits(limit_tokens, limit_micros, is_required=not skill and window == "month")
    scope = {"key": _family(tenant, key), "skill": _skill(skill), "window": _window(window)}
    with transaction.atomic():
        Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)  # two makers of one budget take turns
        budget = Budget.objects.filter(tenant=tenant, **scope).first() or Budget(
            tenant=tenant, thresholds=list(_DEFAULT_THRESHOLDS), **scope
        )
        before = _described(budget) if budget.pk else None
        budget.limit_tokens, budget.limit_micros = limits
        if thresholds is not None:
            budget.thresholds = _thresholds(thresholds)
        if alert_recipients is not None:
            budget.alert_recipients = recipients(alert_recipients)
        budget.save()
        _record("budget.set", budget, actor=actor, address=address, now=now, before=before)
    return budget


def find(tenant: Tenant, *, key: ApiKey | None = None, skill: str = "", window: str = "month") -> Budget:
    """Return the budget of exactly this owner, skill and window. Raises `NotFound`."""
    found = Budget.objects.filter(tenant=tenant, key=_family(tenant, key), skill=skill, window=window).first()
    if found is None:
        raise NotFound("There is no such budget. Set it first.")
    return found


def increase(
    budget: Budget,
    *,
    ends_at: datetime,
    reason: str,
    now: datetime,
    extra_tokens: int = 0,
    extra_micros: int = 0,
    actor: str = "system",
    address: str = "",
    created_by: User | None = None,
) -> BudgetIncrease:
    """Raise a budget from now until `ends_at`, when the addition ends by itself.

    Raises `InvalidRequest` for an addition to a limit that the budget does not have.
    """
    why = scopes.label(reason, field="reason", longest=200)
    if ends_at.tzinfo is None or ends_at <= now:
        raise InvalidRequest("Set `ends_at` to a future instant with its UTC offset.", field="ends_at")
    if not extra_tokens and not extra_micros:
        raise InvalidRequest("Give `extra_tokens`, `extra_micros` or both.", field="extra_tokens")
    with transaction.atomic():
        found = _locked(budget)
        addition = BudgetIncrease.objects.create(
            tenant_id=found.tenant_id,
            budget=found,
            extra_tokens=_extra(extra_tokens, found.limit_tokens, field="extra_tokens", most=scopes.MOST_TOKENS),
            extra_micros=_extra(extra_micros, found.limit_micros, field="extra_micros", most=MOST_MICROS),
            starts_at=now,
            ends_at=ends_at,
            reason=why,
            created_by=created_by,
        )
        extra = {"extra_tokens": extra_tokens, "extra_micros": extra_micros, "ends_at": ends_at.isoformat()}
        _record("budget.increased", found, actor=actor, address=address, now=now, reason=why, **extra)
    return addition


def remove(budget: Budget, *, now: datetime, actor: str = "system", address: str = "") -> None:
    """Remove an optional budget with its increases. Raises `Conflict` for a required one."""
    if not budget.skill and budget.window == Budget.Window.MONTH:
        raise Conflict("Every tenant and every key has a monthly token budget. Change its limit instead.")
    with transaction.atomic():
        found = _locked(budget)
        _record("budget.removed", found, actor=actor, address=address, now=now, before=_described(found))
        found.increases.all().delete()
        found.delete()


def _locked(budget: Budget) -> Budget:
    found = Budget.objects.select_for_update(of=("self",)).select_related("tenant", "key").filter(pk=budget.pk).first()
    if found is None:
        raise NotFound("There is no such budget.")
    return found


def _family(tenant: Tenant, key: ApiKey | None) -> ApiKey | None:
    if key is None:
        return None
    if key.tenant_id != tenant.pk:
        raise NotFound("There is no such key.")
    return key.family or key


def _skill(skill: str) -> str:
    return scopes.label(skill, field="skill", longest=64) if skill else ""


def _window(window: str) -> str:
    if window not in Budget.Window.values:
        raise InvalidRequest("Set `window` to `month` or `day`.", field="window")
    return window


def _limits(tokens: int | None, micros: int | None, *, is_required: bool) -> tuple[int | None, int | None]:
    if tokens is None and (is_required or micros is None):
        raise InvalidRequest(
            "Give `limit_tokens`: a monthly budget for all skills must limit tokens."
            if is_required
            else "Give `limit_tokens`, `limit_micros` or both.",
            field="limit_tokens",
        )
    return (
        None if tokens is None else scopes.count(tokens, field="limit_tokens", most=scopes.MOST_TOKENS),
        None if micros is None else scopes.count(micros, field="limit_micros", most=MOST_MICROS),
    )


def _thresholds(percents: Sequence[int]) -> list[int]:
    if len(percents) > _MOST_THRESHOLDS:
        raise InvalidRequest(f"Give at most {_MOST_THRESHOLDS} thresholds.", field="thresholds")
    return sorted({scopes.count(percent, field="thresholds", most=_MOST_PERCENT) for percent in percents})


def _extra(extra: int, limit: int | None, *, field: str, most: int) -> int:
    if extra and limit is None:
        raise InvalidRequest(f"This budget has no such limit for `{field}` to raise. Set the limit first.", field=field)
    return scopes.count(extra, field=field, most=most) if extra else 0


def _described(budget: Budget) -> dict[str, Any]:
    return {name: getattr(budget, name) for name in ("limit_tokens", "limit_micros", "thresholds", "alert_recipients")}


def _record(action: str, budget: Budget, *, actor: str, address: str, now: datetime, **details: Any) -> None:
    audit.record(
        action,
        tenant=budget.tenant,
        actor=actor,
        address=address,
        subject=budget.key.public_id if budget.key else budget.tenant.slug,
        at=now.isoformat(),
        skill=budget.skill,
        window=budget.window,
        **({} if action == "budget.removed" else _described(budget)),
        **details,
    )
