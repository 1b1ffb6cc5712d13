"""Sending what is due, every attempt on the log; what fails is tried again for a day, what went out never again."""

import logging
from datetime import datetime, timedelta

from django.core.mail import EmailMessage
from django.db import transaction

from tenants.models import Budget, Membership, Tenant, User
from usage.alerts.channels import CHANNELS, Sent, channel
from usage.alerts.models import Alert, AlertDelivery

__all__ = ["Sent", "channel", "send_due"]

log = logging.getLogger(__name__)

_TOLD = (Membership.Role.OWNER, Membership.Role.ADMIN, Membership.Role.FINANCE)
_MOST_SENT = 200
_PAUSES = [timedelta(minutes=minutes) for minutes in (1, 5, 15, 60, 180, 360, 720)]
_Outcome = AlertDelivery.Outcome


def send_due(*, now: datetime) -> int:
    """Send what is due and return how much went out; two that run at once never send the same."""
    sent = 0
    for _ in range(_MOST_SENT):
        with transaction.atomic():
            delivery = _next(now)
            if delivery is None:
                break
            sent += _attempt(delivery, now=now)
    return sent


def _next(now: datetime) -> AlertDelivery | None:
    due = AlertDelivery.objects.filter(outcome=_Outcome.PENDING, next_at__lte=now, channel__in=CHANNELS)
    waiting = due.select_for_update(skip_locked=True, of=("self",)).select_related("alert__tenant")
    return waiting.order_by("next_at", "pk").first()


def _attempt(delivery: AlertDelivery, *, now: datetime) -> bool:
    delivery.attempts += 1
    try:
        with transaction.atomic():
            sent = CHANNELS[delivery.channel](delivery.alert, now)
    except OSError as fault:  # SMTP's errors are of this kind, too
        log.warning("alert %s could not be sent by %s: %s", delivery.alert_id, delivery.channel, fault)
        _put_off(delivery, fault, now=now)
        return False
    delivery.recipients = sent.recipients
    delivery.outcome = _Outcome.SENT if sent.recipients else _Outcome.NOBODY
    _keep(delivery, sent.note or delivery.outcome, now=now)
    return bool(sent.recipients)


def _put_off(delivery: AlertDelivery, fault: OSError, *, now: datetime) -> None:
    if delivery.attempts > len(_PAUSES):
        delivery.outcome = _Outcome.FAILED
    else:
        delivery.next_at = now + _PAUSES[delivery.attempts - 1]
    _keep(delivery, f"{type(fault).__name__}: {fault}"[:200], now=now)


def _keep(delivery: AlertDelivery, note: str, *, now: datetime) -> None:
    delivery.log = [*delivery.log, {"at": now.isoformat(), "note": note}]
    delivery.ended_at = None if delivery.outcome == _Outcome.PENDING else now
    delivery.save()


def _mail(alert: Alert, now: datetime) -> Sent:
    """Tell the people: those who look after a tenant's budgets and whom it or the budget names, or the operators."""
    recipients = _of_tenant(alert.tenant, alert) if alert.tenant else _operators()
    if recipients:
        EmailMessage(subject=alert.title, body=alert.text, to=recipients).send()
    return Sent(recipients)


def _of_tenant(tenant: Tenant, alert: Alert) -> list[str]:
    people = User.objects.filter(memberships__tenant=tenant, memberships__role__in=_TOLD, is_active=True)
    return sorted(
        {*people.exclude(email="").values_list("email", flat=True), *tenant.alert_recipients, *_of_budget(alert)}
    )


def _of_budget(alert: Alert) -> list[str]:
    """Whom the budget names by now, if it is about one that is still there."""
    budgets = Budget.objects.filter(tenant=alert.tenant, pk=alert.details.get("budget_id"))
    return [address for found in budgets for address in found.alert_recipients]


def _operators() -> list[str]:
    people = User.objects.filter(is_superuser=True, is_active=True).exclude(email="")
    return sorted(set(people.values_list("email", flat=True)))


channel("mail", _mail)
