"""Whether closed months are as they were: each statement by itself, in its row, and against what it was made of."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from usage.closing import adjusting, figures
from usage.closing.models import Statement
from usage.rows import fetch
from usage.seals import signing

_TOTALS = ("charged_tokens", "cost_micros")


def check() -> tuple[int, list[tuple[str, str]]]:
    """Check every statement; returns how many there are, and what is wrong as subject and fault."""
    sums = {row["id"]: row for row in fetch(_SUMS)}
    found: list[tuple[str, str]] = []
    before: Statement | None = None
    count = 0
    for statement in Statement.objects.order_by("tenant_id", "number").iterator(chunk_size=500):
        count += 1
        if before is not None and before.tenant_id != statement.tenant_id:
            before = None
        found += [(_subject(statement), fault) for fault in _faults(statement, before=before, sums=sums[statement.pk])]
        before = statement
    found += [
        (
            f"event {row['tenant_id']}/{row['number']} ({row['id']})",
            f"admitted to {row['month']:%Y-%m} after it was closed, and not booked",
        )
        for row in fetch(_UNBOOKED)
    ]
    found += [
        (f"month {row['tenant_id']}/{row['month']:%Y-%m}", "its statement is missing, though a later month is closed")
        for row in fetch(_GAPS)
    ]
    return count, found


def _faults(statement: Statement, *, before: Statement | None, sums: dict[str, Any]) -> Iterator[str]:
    text = statement.figures
    if figures.digest(text) != statement.sha256:
        yield "its figures are not those that were hashed"
    if not signing.is_signed(text, by=statement.key_id, signature=statement.signature):
        yield f"its signature by the key {statement.key_id} does not fit"
    if statement.number != (before.number + 1 if before else 1):
        yield f"its number does not follow {before.number if before else 0}: a statement is missing"
    try:
        yield from _content_faults(statement, json.loads(text), before=before, sums=sums)
    except (ValueError, KeyError, TypeError):
        yield "its figures cannot be read"


def _content_faults(
    statement: Statement, content: dict[str, Any], *, before: Statement | None, sums: dict[str, Any]
) -> Iterator[str]:
    closed_at = datetime.fromisoformat(content["closed_at"])
    told = content["number"], content["report"]["month"], content["closed_by"], closed_at
    kept = statement.number, f"{statement.month:%Y-%m}", statement.closed_by, statement.closed_at
    last = content.get("last_event_number", statement.last_event_number)  # statements of the first form do not say
    if told != kept or last != statement.last_event_number:
        yield "its columns are not what was signed"
    if content["previous"] != ({"number": before.number, "sha256": before.sha256} if before else None):
        yield "it names another statement before it than there is"
    if content["adjustments_sha256"] != adjusting.digest(statement.tenant_id, statement.month):
        yield "the adjustments that are booked in it are not those that it was closed with"
    for name in _TOTALS:
        if content["report"]["total"][name] != sums[name]:
            yield f"{name} is {content['report']['total'][name]}, its events say {sums[name]}"


def _subject(statement: Statement) -> str:
    return f"statement {statement.tenant_id}/{statement.number} ({statement.month:%Y-%m})"


_SUMS = """
SELECT s.id, e.charged_tokens, e.cost_micros FROM usage_statement s CROSS JOIN LATERAL (
    SELECT coalesce(sum(e.charged_tokens), 0)::bigint AS charged_tokens, coalesce(sum(e.cost_micros), 0)::bigint AS cost_micros
    FROM usage_event e WHERE e.tenant_id = s.tenant_id AND e.month = s.month AND e.number <= s.last_event_number
) e
"""
_UNBOOKED = """
SELECT e.tenant_id, e.number, e.id, e.month FROM usage_statement s
JOIN usage_event e ON e.tenant_id = s.tenant_id AND e.month = s.month AND e.number > s.last_event_number AND e.state <> 'open'
WHERE e.closed_at < usage_clock() - interval '1 day' AND NOT EXISTS (SELECT 1 FROM usage_adjustment a WHERE a.event_id = e.id)
ORDER BY e.tenant_id, e.number
"""
_GAPS = """
SELECT r.tenant_id, r.month FROM (SELECT DISTINCT tenant_id, date_trunc('month', day)::date AS month FROM usage_dayrevision) r
WHERE r.month < (SELECT max(s.month) FROM usage_statement s WHERE s.tenant_id = r.tenant_id)
  AND NOT EXISTS (SELECT 1 FROM usage_statement s WHERE s.tenant_id = r.tenant_id AND s.month = r.month)
ORDER BY 1, 2
"""
