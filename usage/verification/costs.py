"""I4, the money: a settled event costs what the price version it names makes of its tokens."""

from collections.abc import Iterator
from datetime import UTC
from functools import cache

from kit.errors import SkillgateError
from usage import pricing
from usage.models import UsageEvent
from usage.pricing import Tokens
from usage.verification.findings import Finding, Report

_CHUNK = 5000


def check(report: Report) -> None:
    """Price every settled event again."""
    version = cache(pricing.version)
    findings: list[Finding] = []
    rows = 0
    for event in _settled():
        rows += 1
        expected = _cost(event, book=version(event.price_version))
        if expected != event.cost_micros:
            fault = f"cost {event.cost_micros} micro-dollars, price version {event.price_version} says {expected}"
            subject = f"event {event.tenant_id}/{event.number} ({event.id})"
            findings.append(Finding("I4 costs", subject, fault))
    report.add("I4 costs", rows=rows, findings=findings)


def _settled() -> Iterator[UsageEvent]:
    return UsageEvent.objects.filter(state="settled").order_by("tenant_id", "number").iterator(chunk_size=_CHUNK)


def _cost(event: UsageEvent, *, book: pricing.Book) -> int | None:
    tokens = Tokens(
        input=event.input_tokens,
        output=event.output_tokens,
        cache_write_5m=event.cache_write_5m_tokens,
        cache_write_1h=event.cache_write_1h_tokens,
        cache_read=event.cache_read_tokens,
    )
    try:
        return book.cost(event.model, tokens, on=event.opened_at.astimezone(UTC).date(), tier=event.service_tier)
    except SkillgateError:
        return None
