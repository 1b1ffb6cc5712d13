"""What goes into the ledger and what comes back."""

from dataclasses import field
from datetime import date, datetime
from typing import Any, Literal
from uuid import UUID

from kit.values import value
from tenants.keys import Caller
from usage.pricing import Tokens

Purpose = Literal["answer", "repair", "classify", "cached"]
ClosingState = Literal["settled", "released", "estimated"]
LEASE_SECONDS = 60.0
LONGEST_ROUTE = 160


@value
class Admission:
    """The question whether one upstream attempt may be made, and at most how much it can use.

    `input_tokens` and `output_tokens` are upper bounds; `micros` is an upper bound of the cost.
    `route` says why this model, where it was chosen and not just stated. Of `purpose` cached there is no
    upstream attempt: its bounds are 0.
    """

    event_id: UUID
    run_id: UUID
    attempt: int
    purpose: Purpose
    request_id: str
    entry_point: str
    skill: str
    skill_version: int | None
    model: str
    input_tokens: int
    output_tokens: int
    micros: int
    price_version: int
    route: str = ""

    @property
    def tokens(self) -> int:
        """All tokens that the attempt can use."""
        return self.input_tokens + self.output_tokens


@value
class Reservation:
    """An open usage event: the right to make one upstream attempt."""

    caller: Caller
    admission: Admission
    month: date
    number: int
    opened_at: datetime

    @property
    def event_id(self) -> UUID:
        """The usage event's id."""
        return self.admission.event_id


@value
class Closing:
    """How an attempt ended: the state, what upstream reported (or the bound), its cost and circumstances."""

    state: ClosingState
    tokens: Tokens = field(default_factory=Tokens)
    cost_micros: int = 0
    stop_reason: str = ""
    error_type: str = ""
    upstream_request_id: str = ""
    service_tier: str = ""
    first_output_ms: int | None = None
    duration_ms: int | None = None


def admission_row(caller: Caller, admission: Admission, *, ordinal: int) -> dict[str, Any]:
    """Render an admission as SQL's `usage_call`, its fields in that order."""
    return {
        "ordinal": ordinal,
        "id": f"{admission.event_id.int:032x}",  # a UUID's own `str` is Python's
        "tenant_id": caller.tenant_id,
        "key_id": caller.key_id,
        "family_id": caller.family_id,
        "run_id": f"{admission.run_id.int:032x}",
        "attempt": admission.attempt,
        "purpose": admission.purpose,
        "request_id": admission.request_id,
        "entry_point": admission.entry_point,
        "skill": admission.skill,
        "skill_version": admission.skill_version,
        "model": admission.model,
        "route": admission.route[:LONGEST_ROUTE],
        "tokens": admission.input_tokens + admission.output_tokens,
        "output_tokens": admission.output_tokens,
        "micros": admission.micros,
        "price_version": admission.price_version,
        "lease_seconds": LEASE_SECONDS,
    }


def closing_row(reservation: Reservation, closing: Closing, *, ordinal: int) -> dict[str, Any]:
    """Render a closing as SQL's `usage_closing`, its fields in that order."""
    tokens = closing.tokens
    return {
        "ordinal": ordinal,
        "id": f"{reservation.admission.event_id.int:032x}",
        "month": reservation.month,
        "tenant_id": reservation.caller.tenant_id,
        "state": closing.state,
        "input_tokens": tokens.input,
        "output_tokens": tokens.output,
        "cache_write_5m_tokens": tokens.cache_write_5m,
        "cache_write_1h_tokens": tokens.cache_write_1h,
        "cache_read_tokens": tokens.cache_read,
        "cost_micros": closing.cost_micros,
        "stop_reason": closing.stop_reason,
        "error_type": closing.error_type,
        "upstream_request_id": closing.upstream_request_id,
        "service_tier": closing.service_tier,
        "first_output_ms": closing.first_output_ms,
        "duration_ms": closing.duration_ms,
        "lapsed_only": False,
    }
