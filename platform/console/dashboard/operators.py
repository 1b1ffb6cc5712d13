"""The page operators enter by: all tenants together, and who stands out."""

from datetime import UTC, timedelta

from django.db.models import Count, Q, Sum
from django.http import HttpRequest, HttpResponseBase

from console import pages
from console.dashboard import drawing, tiles
from kit import clock
from skills.analyses.models import Analysis
from tenants.models import Refusal
from usage import alerts, daily, latencies
from usage.reports import Sums

_MOST_TENANTS = 10


def show(request: HttpRequest) -> HttpResponseBase:
    """Show how the platform's day and month stand; days are each tenant's own."""
    now = clock.now().astimezone(UTC)
    today, midnight = now.date(), now.replace(hour=0, minute=0, second=0, microsecond=0)
    platform = daily.of_platform(today.replace(day=1), today + timedelta(days=1))
    days = platform.days
    total = sum(days.values(), Sums())
    latency = latencies.of_all(month=today.replace(day=1), calls=total.calls)
    refused = Refusal.objects.filter(hour__gte=midnight.replace(day=1)).aggregate(
        today=Sum("count", filter=Q(hour__gte=midnight)), month=Sum("count")
    )
    return pages.render(
        request,
        "console/dashboard/operators.html",
        title="Overview",
        tiles=tiles.tiles(days.get(today, Sums()), total, refused=(refused["today"] or 0, refused["month"] or 0)),
        month_latency=[
            ("Typical time", tiles.seconds(latency.median)),
            ("Slow time", tiles.seconds(latency.slow)),
            ("First output", tiles.seconds(latency.first_output)),
        ],
        has_calls=total.calls > 0,
        calls=drawing.draw({day: sums.calls for day, sums in days.items()}, month=today.replace(day=1), today=today),
        cost=drawing.draw(
            {day: sums.cost_micros for day, sums in days.items()}, month=today.replace(day=1), today=today
        ),
        tenants=platform.tenants[:_MOST_TENANTS],
        analyses=Analysis.objects.values_list("state").annotate(count=Count("*")).order_by("state"),
        alerts=[alert for alert in alerts.latest(None, most=20) if alert.is_open][:8],
    )
