"""Adjustments: what is booked in an open month because what it belongs to is sealed or closed."""

import hashlib
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.db import connection

from usage.rows import fetch, stream

MEASURES = (
    "input_tokens",
    "output_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "cache_read_tokens",
    "charged_tokens",
    "cost_micros",
    "billed_micros",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What was adjusted for one reason in one month of origin, summed."""

    kind: str
    origin_month: date
    reason: str
    adjustments: int
    charged_tokens: int
    cost_micros: int
    billed_micros: int

    def as_json(self) -> dict[str, Any]:
        """Render the origin as plain data."""
        return {
            "kind": self.kind,
            "origin_month": f"{self.origin_month:%Y-%m}",
            "reason": self.reason,
            "adjustments": self.adjustments,
            "charged_tokens": self.charged_tokens,
            "cost_micros": self.cost_micros,
            "billed_micros": self.billed_micros,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjusted:
    """All that is booked in a month besides its own events, by origin."""

    origins: tuple[Origin, ...]

    @property
    def charged_tokens(self) -> int:
        """Tokens more, or less."""
        return sum(one.charged_tokens for one in self.origins)

    @property
    def cost_micros(self) -> int:
        """What the provider takes more, or less."""
        return sum(one.cost_micros for one in self.origins)

    @property
    def billed_micros(self) -> int:
        """What the tenant is charged more, or less."""
        return sum(one.billed_micros for one in self.origins)

    def as_json(self) -> list[dict[str, Any]]:
        """Render the origins as plain data."""
        return [one.as_json() for one in self.origins]


def of_month(tenant_id: int, month: date) -> Adjusted:
    """Return what is booked in a tenant's month besides its own events."""
    rows = fetch(_OF_MONTH, [tenant_id, month.replace(day=1)])
    return Adjusted(origins=tuple(Origin(**row) for row in rows))


def digest(tenant_id: int, month: date) -> str:
    """Return the SHA-256 over all adjustments that are booked in a month, in their order."""
    found = hashlib.sha256()
    for row in stream(_ROWS, [tenant_id, month.replace(day=1)]):
        found.update(row["row"].encode() + b"\n")
    return found.hexdigest()


def book_late(tenant_id: int) -> int:
    """Book what was admitted to a closed month after its closing, each event once; returns how many.

    Only a tenant that moves to a time zone further west can come back to a month that it has closed.
    """
    with connection.cursor() as cursor:
        cursor.execute(_LATE, [tenant_id])
        return int(cursor.rowcount)


# The canonical row of `usage_adjustment a`, every column of it.
ROW = f"""jsonb_build_array(a.id, a.tenant_id, a.month, a.kind, a.origin_day, a.event_id, a.event_number, a.key_id, a.skill, a.model,
    {", ".join(f"a.{name}" for name in MEASURES)}, a.price_version, a.reason, a.created_by,
    to_char(a.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))::text"""
_SUMS = ", ".join(f"sum({name})::bigint AS {name}" for name in ("charged_tokens", "cost_micros", "billed_micros"))
_OF_MONTH = f"""
SELECT kind, date_trunc('month', origin_day)::date AS origin_month, reason, count(*) AS adjustments, {_SUMS}
FROM usage_adjustment WHERE tenant_id = %s AND month = %s GROUP BY 1, 2, 3 ORDER BY 2, 1, 3
"""  # noqa: S608 - the names are ours
_ROWS = f"""
SELECT jsonb_build_array(id, kind, origin_day, event_id, event_number, key_id, skill, model, {", ".join(MEASURES)}, price_version,
    reason, created_by)::text AS row
FROM usage_adjustment WHERE tenant_id = %s AND month = %s ORDER BY id
"""  # noqa: S608 - the names are ours
_LATE = f"""
INSERT INTO usage_adjustment (
    tenant_id, month, kind, origin_day, event_id, event_number, key_id, skill, model, {", ".join(MEASURES)}, reason, created_by, created_at
)
SELECT e.tenant_id, usage_open_month(e.tenant_id, e.month), 'late', e.day, e.id, e.number, e.key_id, e.skill, e.model,
       {", ".join(f"e.{name}" for name in MEASURES if name != "billed_micros")},
       usage_charge(
           e.tenant_id, e.day, e.model, e.cost_micros, e.input_tokens, e.output_tokens, e.cache_write_5m_tokens,
           e.cache_write_1h_tokens, e.cache_read_tokens
       ), 'admitted to ' || to_char(e.month, 'YYYY-MM') || ' after it was closed', 'system', usage_clock()
FROM usage_statement s JOIN usage_event e ON e.tenant_id = s.tenant_id AND e.month = s.month AND e.number > s.last_event_number
WHERE s.tenant_id = %s AND e.state <> 'open' ORDER BY e.number
ON CONFLICT DO NOTHING
"""  # noqa: S608 - the names are ours
