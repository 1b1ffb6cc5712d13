"""What the ledger's state is at this moment, for whoever scrapes it. Counters live where they are counted."""

from prometheus_client import Gauge

from kit import pg
from usage.ledger import unanswered

# What the database says is the same for all processes of a host: the newest answer counts.
OPEN = Gauge("skillgate_ledger_open_events", "Usage events that are open.", multiprocess_mode="mostrecent")
LAPSED = Gauge(
    "skillgate_ledger_lapsed_events",
    "Open usage events whose lease is over, so that the sweep is due.",
    multiprocess_mode="mostrecent",
)
LEASE_AGE = Gauge(
    "skillgate_ledger_oldest_lapse_seconds",
    "How long the oldest lease has been over; over 30 the sweep is not running.",
    multiprocess_mode="mostrecent",
)
UNANSWERED = Gauge(
    "skillgate_ledger_unanswered_reservations",
    "Reservations of this process that wait to be released.",
    multiprocess_mode="livesum",
)

_STATE = """
SELECT count(e.state) AS open, count(*) FILTER (WHERE e.lease_until < n.now) AS lapsed,
       coalesce(extract(epoch FROM n.now - min(e.lease_until)), 0)::double precision AS oldest
FROM (SELECT usage_clock() AS now) n LEFT JOIN usage_event e ON e.state = 'open' GROUP BY n.now
"""


async def refresh() -> None:
    """Bring the gauges up to date; raises `Unavailable` without a database."""
    row = await pg.fetch_one(_STATE)
    if row is not None:
        OPEN.set(row["open"])
        LAPSED.set(row["lapsed"])
        LEASE_AGE.set(max(0.0, row["oldest"]))
    UNANSWERED.set(unanswered.count())
