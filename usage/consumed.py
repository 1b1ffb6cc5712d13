"""What runs have used according to the ledger, for whoever has to find out after a breakdown."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from kit import pg


@dataclass(frozen=True, slots=True)
class Consumed:
    """A run's usage over all its events; while one is open the sum may still grow."""

    tokens: int
    micros: int
    is_open: bool


async def of_runs(tenant_id: int, run_ids: Iterable[UUID], *, since: datetime) -> dict[UUID, Consumed]:
    """Sum up what a tenant's runs used, those that reached the ledger at `since` or later."""
    rows = await pg.fetch_all(_SUMS, {"tenant": tenant_id, "runs": list(run_ids), "since": since})
    return {row["run_id"]: Consumed(int(row["tokens"]), int(row["micros"]), row["is_open"]) for row in rows}


# A day earlier: days are the tenant's own, instants are not.
_SUMS = """
SELECT run_id, sum(charged_tokens) AS tokens, sum(cost_micros) AS micros, bool_or(state = 'open') AS is_open
FROM usage_event
WHERE tenant_id = %(tenant)s AND day >= (%(since)s::timestamptz)::date - 1
    AND month >= date_trunc('month', %(since)s::timestamptz - interval '1 day')::date AND run_id = ANY(%(runs)s)
GROUP BY run_id
"""
