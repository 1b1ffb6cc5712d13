"""Rows for exports, read by a cursor on a connection of their own: neither pages nor calls wait for a slow download."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from threading import BoundedSemaphore
from typing import Any

import psycopg
from psycopg.rows import TupleRow, dict_row

from kit import pg
from kit.errors import InvalidRequest, Unavailable

MOST_AT_ONCE = 4
LONGEST_DAYS = 400
ROWS_AT_ONCE = 2000
EVENTS_AT_ONCE = 20_000
Reading = psycopg.Connection[TupleRow]
_seats = BoundedSemaphore(MOST_AT_ONCE)
# A reader that is gone without a word must not hold a snapshot for ever.
_OPTIONS = (
    "-c statement_timeout=120000 -c idle_in_transaction_session_timeout=120000 -c cursor_tuple_fraction=1.0 -c jit=off"
)


@dataclass(frozen=True, slots=True)
class Wall:
    """A role that row-level security holds to one tenant: what an export for that tenant's people reads through."""

    role: str
    tenant_id: int


@dataclass(frozen=True, slots=True)
class Span:
    """Days of the tenant's zone, both included."""

    first: date
    last: date

    @classmethod
    def of_month(cls, month: date) -> "Span":
        """Return the days of a month."""
        first = month.replace(day=1)
        following = date(first.year + first.month // 12, first.month % 12 + 1, 1)
        return cls(first, date.fromordinal(following.toordinal() - 1))

    def check(self) -> "Span":
        """Return the span, or raise `InvalidRequest` if it cannot be exported."""
        if not 0 <= (self.last - self.first).days < LONGEST_DAYS:
            raise InvalidRequest(f"An export covers 1 to {LONGEST_DAYS} days.", field="to")
        return self


@contextmanager
def reader(wall: Wall | None) -> Iterator[Reading]:
    """Lend a connection in one read-only snapshot. Raises `Unavailable` when too many exports run."""
    if not _seats.acquire(blocking=False):
        raise Unavailable("Too many exports run right now. Try again in a minute.", retry_after=60)
    try:
        with psycopg.connect(**{**pg.conninfo(), "options": _OPTIONS, "connect_timeout": 3}) as connection:
            connection.read_only = True
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            if wall is not None and wall.role:
                connection.execute(
                    "SELECT set_config('skillgate.tenant', %s, true), set_config('role', %s, true)",
                    [str(wall.tenant_id), wall.role],
                )
            yield connection
    except psycopg.OperationalError as lost:
        raise Unavailable("The database cannot be reached right now. Try again.") from lost
    finally:
        _seats.release()


def rows(connection: Reading, query: str, parameters: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a statement's rows as they are fetched, some thousand at a time."""
    with connection.cursor(name="export", row_factory=dict_row) as cursor:
        cursor.itersize = ROWS_AT_ONCE
        cursor.execute(query.encode(), parameters)
        yield from cursor


def stretches(
    connection: Reading, tenant_id: int, span: Span, *, size: int = EVENTS_AT_ONCE
) -> Iterator[dict[str, Any]]:
    """Cut a tenant's events of some days into stretches of their numbers, each within one month.

    Read one after the other they are in order without a sort of all, so that the first rows of millions come at once.
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(_BOUNDS, {"tenant": tenant_id, "first": span.first, "last": span.last})
        months = cursor.fetchall()
    for month in months:
        for low in range(month["low"], month["high"] + 1, size):
            yield {**month, "tenant": tenant_id, "low": low, "high": min(low + size - 1, month["high"])}


# One look into the index of each month's partition.
_BOUNDS = """
SELECT m.month::date, greatest(m.month::date, %(first)s) AS first, least((m.month + interval '1 month')::date - 1, %(last)s) AS last, n.low, n.high
FROM generate_series(date_trunc('month', %(first)s::timestamp), %(last)s::timestamp, interval '1 month') m (month)
CROSS JOIN LATERAL (
    SELECT min(number) AS low, max(number) AS high FROM usage_event WHERE tenant_id = %(tenant)s AND month = m.month::date
) n
WHERE n.low IS NOT NULL ORDER BY m.month
"""
