"""Upstream attempts as spans, by OpenTelemetry's conventions for generative AI.

Its `input_tokens` are all tokens that went in; Claude's leave out what was written to or read from its cache.
"""

import json
from typing import TYPE_CHECKING, Any

from django.conf import settings

from kit import ids, traces
from usage.ledger import Closing, Reservation

if TYPE_CHECKING:
    from uuid import UUID

    from opentelemetry.trace import Span

_open: "dict[UUID, Span]" = {}


def begun(reservation: Reservation, body: dict[str, Any]) -> None:
    """Begin the span of an attempt, under that of the request it is made for."""
    if not traces.is_on():
        return
    asked = reservation.admission
    span = traces.begin(f"chat {asked.model}", kind="client", facts=_asked(reservation, body))
    if span is not None:
        _open[reservation.event_id] = span


def ended(reservation: Reservation, closing: Closing) -> None:
    """End it with what was used."""
    span = _open.pop(reservation.event_id, None) if _open else None
    if span is not None:
        traces.end(span, _used(closing), error=closing.error_type)


def _asked(reservation: Reservation, body: dict[str, Any]) -> dict[str, Any]:
    asked, caller = reservation.admission, reservation.caller
    facts: dict[str, Any] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": asked.model,
        "gen_ai.request.max_tokens": body["max_tokens"],
        "gen_ai.output.type": "json" if "output_config" in body else "text",
        "skillgate.run": ids.encode("run", asked.run_id),
        "skillgate.attempt": asked.attempt,
        "skillgate.purpose": asked.purpose,
        "skillgate.request_id": asked.request_id,
        "skillgate.entry_point": asked.entry_point,
        "skillgate.skill": asked.skill,
        "skillgate.tenant": caller.tenant_slug,
        "skillgate.key": caller.public_id,
    }
    if settings.TRACE_PROMPTS:
        facts["gen_ai.system_instructions"] = json.dumps(body.get("system", []), ensure_ascii=False)
        facts["gen_ai.input.messages"] = json.dumps(body.get("messages", []), ensure_ascii=False)
    return facts


def _used(closing: Closing) -> dict[str, Any]:
    tokens = closing.tokens
    written = tokens.cache_write_5m + tokens.cache_write_1h
    return {
        "gen_ai.response.finish_reasons": [closing.stop_reason] if closing.stop_reason else None,
        "gen_ai.usage.input_tokens": tokens.input + tokens.cache_read + written,
        "gen_ai.usage.output_tokens": tokens.output,
        "gen_ai.usage.cache_read.input_tokens": tokens.cache_read,
        "gen_ai.usage.cache_creation.input_tokens": written,
        "skillgate.upstream_request_id": closing.upstream_request_id or None,
        "skillgate.state": closing.state,
        "skillgate.cost_micros": closing.cost_micros,
        "skillgate.first_output_ms": closing.first_output_ms,
    }
