"""Reconciling a day, keeping the result, and telling of differences that are larger than they may be."""

from datetime import date, datetime, timedelta
from pathlib import Path

from django.conf import settings

from kit import money
from kit.errors import NotFound
from usage import alerts
from usage.reconciliation import ours, theirs
from usage.reconciliation.comparing import OUTSIDE, Comparison, compare
from usage.reconciliation.models import Reconciliation

_LEAST_MICROS = 10_000  # a cent: the provider's files are rounded to it
# The provider's report is complete some hours after a day's end; until then a difference is no news.
_SETTLED = timedelta(days=2)


def reconcile(
    day: date, *, now: datetime, usage_file: Path | None = None, cost_file: Path | None = None
) -> Reconciliation:
    """Compare a UTC day with the provider's report, or with its files, and keep the result.

    Raises `Unavailable` when the provider does not answer, `InvalidRequest` for files that cannot be read.
    """
    there = theirs.of_files(day, usage=usage_file, costs=cost_file) if usage_file else theirs.of_api(day)
    found = compare(day, ours=ours.of_day(day), theirs=there)
    kept = Reconciliation.objects.create(
        day=day,
        source=found.source[:200],
        has_costs=found.has_costs,
        ours_micros=found.ours_micros,
        theirs_micros=found.theirs_micros,
        buckets=found.buckets,
        lines=found.lines,
        is_within_tolerance=_is_within(found),
    )
    if day <= (now - _SETTLED).date():
        _tell(kept, now=now)
    return kept


def due(*, now: datetime) -> list[date]:
    """Return the days to compare at an instant: yesterday, and the day before for good."""
    return [(now - timedelta(days=ago)).date() for ago in (2, 1)]


def latest(*, days: int = 60) -> list[Reconciliation]:
    """Return the newest result of each of the last days, the newest first."""
    newest = Reconciliation.objects.order_by("day", "-pk").distinct("day")
    return sorted(newest, key=lambda one: one.day, reverse=True)[:days]


def one(pk: int) -> Reconciliation:
    """Return one result; raises `NotFound`."""
    found = Reconciliation.objects.filter(pk=pk).first()
    if found is None:
        raise NotFound("There is no such comparison.")
    return found


def _is_within(found: Comparison) -> bool:
    """What others used with keys of theirs is no difference of ours."""
    own = abs(found.difference_micros - found.buckets[OUTSIDE])
    allowed = max(found.ours_micros, found.theirs_micros) * settings.RECONCILIATION_TOLERANCE_PERCENT / 100
    # Buckets that cancel each other out are differences all the same.
    largest = max(abs(micros) for name, micros in found.buckets.items() if name != OUTSIDE)
    return bool(max(own, largest) <= max(allowed, _LEAST_MICROS))


def _tell(kept: Reconciliation, *, now: datetime) -> None:
    name = f"reconciliation:{kept.day}"
    if kept.is_within_tolerance:
        alerts.end_one(name, now=now)
        return
    lines = [
        f"{bucket.replace('_', ' ')}: {money.dollars(micros)}" for bucket, micros in kept.buckets.items() if micros
    ]
    alerts.raise_alert(
        "reconciliation",
        once=name,
        title=f"The provider's report of {kept.day} differs by {money.dollars(kept.difference_micros)}",
        text=(
            f"On {kept.day} (UTC) the ledger has {money.dollars(kept.ours_micros)}, the provider"
            f" {money.dollars(kept.theirs_micros)}.\n\n" + "\n".join(lines) + "\n\n"
            f"`manage.py reconcile --day {kept.day} --json` shows it by model and token class.\n"
        ),
        details={"day": kept.day.isoformat(), "buckets": kept.buckets},
    )
