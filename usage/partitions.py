"""Monthly partitions of the usage events, made well ahead of their month."""

from datetime import datetime, timedelta

from django.db import connection

MONTHS_AHEAD = 3


def make_ahead(*, now: datetime) -> int:
    """Make the partitions from last month to `MONTHS_AHEAD` months on and return how many were missing."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT usage_make_partitions(%s, %s)", [(now - timedelta(days=31)).date(), MONTHS_AHEAD + 2])
        return int(cursor.fetchone()[0])


def strays() -> int:
    """Return how many events found no partition of their month: any is an alarm."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM usage_event_default")
        return int(cursor.fetchone()[0])
