"""Soft thresholds: whoever looks after a tenant's budgets is told once when one is half, nearly or wholly used."""

import logging
from datetime import datetime

from django.core.mail import EmailMessage
from django.db import connection, transaction

from kit import money
from tenants.models import Budget, Membership, Tenant, User
from usage.models import BudgetAlert

log = logging.getLogger(__name__)

_TOLD = (Membership.Role.OWNER, Membership.Role.ADMIN, Membership.Role.FINANCE)
_MOST_SENT = 200

# A window that ended less than an hour ago still counts: its last calls settle after it.
_RAISE = """
INSERT INTO usage_budgetalert (account_id, unit, threshold, used, "limit")
SELECT a.id, u.unit, t.threshold, u.used, u."limit"
FROM tenants_budget b
JOIN tenants_tenant n ON n.id = b.tenant_id
CROSS JOIN LATERAL (
    SELECT usage_clock() AT TIME ZONE n.timezone AS local UNION SELECT (usage_clock() - interval '1 hour') AT TIME ZONE n.timezone
) c
JOIN usage_budgetaccount a ON a.tenant_id = b.tenant_id AND coalesce(a.key_id, 0) = coalesce(b.key_id, 0)
    AND a.skill = b.skill AND a."window" = b."window" AND a.period = date_trunc(b."window", c.local)::date
LEFT JOIN LATERAL (
    SELECT sum(x.extra_tokens)::bigint AS extra_tokens, sum(x.extra_micros)::bigint AS extra_micros FROM tenants_budgetincrease x
    WHERE x.budget_id = b.id AND x.starts_at <= usage_clock() AND x.ends_at > usage_clock()
) i ON true
CROSS JOIN LATERAL (
    VALUES ('tokens', a.settled_tokens, b.limit_tokens + coalesce(i.extra_tokens, 0)),
           ('micros', a.settled_micros, b.limit_micros + coalesce(i.extra_micros, 0))
) u (unit, used, "limit")
CROSS JOIN LATERAL unnest(b.thresholds) t (threshold)
WHERE u."limit" > 0 AND u.used::numeric * 100 >= u."limit"::numeric * t.threshold
ON CONFLICT DO NOTHING
"""


def raise_due() -> int:
    """This function will note every threshold that was passed and not noted before, and return how many there were."""
    with connection.cursor() as cursor:
        cursor.execute(_RAISE)
        return int(cursor.rowcount)


def send_due(*, now: datetime) -> int:
    """This function will send the alerts that were not sent yet and return how many went out.

    One that fails to go is tried again the next time; two that run at once never send the same one.
    """
    sent = 0
    failed: list[int] = []
    while sent + len(failed) < _MOST_SENT:
        with transaction.atomic():
            alert = _next(failed)
            if alert is None:
                break
            try:
                _send(alert)
            except OSError:  # SMTP's errors are of this kind, too
                log.exception("budget alert %s could not be sent", alert.pk)
                failed.append(alert.pk)
                continue
            alert.sent_at = now
            alert.save(update_fields=["sent_at"])
            sent += 1
    return sent


def _next(failed: list[int]) -> BudgetAlert | None:
    waiting = BudgetAlert.objects.filter(sent_at=None).exclude(pk__in=failed).order_by("pk")
    return (
        waiting.select_for_update(skip_locked=True, of=("self",))
        .select_related("account__tenant", "account__key")
        .first()
    )


def _send(alert: BudgetAlert) -> None:
    tenant = alert.account.tenant
    recipients = _recipients(tenant)
    if not recipients:
        log.warning("nobody of tenant %s has an address for budget alert %s", tenant.slug, alert.pk)
        return
    EmailMessage(subject=_subject(alert), body=_body(alert), to=recipients).send()


def _recipients(tenant: Tenant) -> list[str]:
    people = User.objects.filter(memberships__tenant=tenant, memberships__role__in=_TOLD, is_active=True)
    return sorted(set(people.exclude(email="").values_list("email", flat=True)))


def _owner(alert: BudgetAlert) -> str:
    account = alert.account
    whose = f"the key {account.key}" if account.key else account.tenant.name
    return f"the skill {account.skill} of {whose}" if account.skill else whose


def _subject(alert: BudgetAlert) -> str:
    return f"{alert.threshold} % of the budget of {_owner(alert)} is used"


def _body(alert: BudgetAlert) -> str:
    account = alert.account
    span = "month" if account.window == Budget.Window.MONTH else "day"
    return (
        f"{_owner(alert)} has used {_amount(alert.used, unit=alert.unit)} of"
        f" {_amount(alert.limit, unit=alert.unit)} in the {span} that began on {account.period:%Y-%m-%d}"
        f" ({account.tenant.timezone}).\n\n"
        "Calls that do not fit what is left are refused; an admin can raise the budget.\n"
        "This is told once per threshold and window.\n"
    )


def _amount(value: int, *, unit: str) -> str:
    return f"{value:,} tokens" if unit == "tokens" else money.dollars(value)
