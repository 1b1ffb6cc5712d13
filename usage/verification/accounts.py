"""I1: what an account holds reserved and has settled is the sum over the events in its scope."""

from usage.rows import fetch
from usage.verification.findings import Finding, Report

_COLUMNS = ("reserved_tokens", "settled_tokens", "reserved_micros", "settled_micros")
# Events are summed once by all that a scope can name; accounts then add up the sums in theirs.
_WRONG = """
WITH sums AS (
    SELECT tenant_id, family_id, skill, month, day,
           coalesce(sum(reserved_tokens) FILTER (WHERE state = 'open'), 0) AS reserved_tokens,
           sum(charged_tokens) AS settled_tokens,
           coalesce(sum(reserved_micros) FILTER (WHERE state = 'open'), 0) AS reserved_micros,
           sum(cost_micros) AS settled_micros
    FROM usage_event GROUP BY tenant_id, family_id, skill, month, day
), expected AS (
    SELECT a.id, a.tenant_id, a.key_id, a.skill, a."window", a.period,
           a.reserved_tokens, a.settled_tokens, a.reserved_micros, a.settled_micros,
           coalesce(sum(s.reserved_tokens), 0)::bigint AS events_reserved_tokens,
           coalesce(sum(s.settled_tokens), 0)::bigint AS events_settled_tokens,
           coalesce(sum(s.reserved_micros), 0)::bigint AS events_reserved_micros,
           coalesce(sum(s.settled_micros), 0)::bigint AS events_settled_micros
    FROM usage_budgetaccount a LEFT JOIN sums s
        ON s.tenant_id = a.tenant_id AND s.month = date_trunc('month', a.period)::date AND (a."window" = 'month' OR s.day = a.period)
        AND (a.key_id IS NULL OR s.family_id = a.key_id) AND (a.skill = '' OR s.skill = a.skill)
    GROUP BY a.id
)
SELECT * FROM expected
WHERE (reserved_tokens, settled_tokens, reserved_micros, settled_micros)
    <> (events_reserved_tokens, events_settled_tokens, events_reserved_micros, events_settled_micros)
ORDER BY id
"""


def check(report: Report) -> None:
    """Compare every account with its events."""
    rows = fetch(_WRONG)
    findings = []
    for row in rows:
        wrong = [name for name in _COLUMNS if row[name] != row[f"events_{name}"]]
        fault = "; ".join(f"{name} is {row[name]}, its events say {row[f'events_{name}']}" for name in wrong)
        scope = f"tenant {row['tenant_id']} key {row['key_id'] or '*'} skill {row['skill'] or '*'}"
        subject = f"account {row['id']} ({scope} {row['window']} {row['period']})"
        findings.append(Finding("I1 accounts", subject, fault, {"account_id": row["id"]}))
    report.add("I1 accounts", rows=fetch("SELECT count(*) AS n FROM usage_budgetaccount")[0]["n"], findings=findings)
