"""The ledger's invariants, checked against the emulator's journal by statements of our own.

Each check returns what is wrong, in words; an empty list is a promise kept. They share no code with
the product, so that both must be wrong in the same way before an error hides.
"""

from collections import Counter
from typing import Any

from tests.failure.stack import Stack

Row = dict[str, Any]
_CLASSES = ("input_tokens", "output_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens", "cache_read_tokens")
_ACCOUNTS = """
    SELECT a.id, a.tenant_id, a.key_id, a.period, a.reserved_tokens, a.settled_tokens, a.reserved_micros, a.settled_micros,
        b.limit_tokens, b.limit_micros, e.open_tokens, e.open_micros, e.charged_tokens, e.charged_micros
    FROM usage_budgetaccount a
    JOIN tenants_budget b ON b.tenant_id = a.tenant_id AND b.key_id IS NOT DISTINCT FROM a.key_id
        AND b.skill = a.skill AND b."window" = a."window"
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(u.reserved_tokens) FILTER (WHERE u.state = 'open'), 0) AS open_tokens,
            coalesce(sum(u.reserved_micros) FILTER (WHERE u.state = 'open'), 0) AS open_micros,
            coalesce(sum(u.charged_tokens) FILTER (WHERE u.state <> 'open'), 0) AS charged_tokens,
            coalesce(sum(u.cost_micros) FILTER (WHERE u.state <> 'open'), 0) AS charged_micros
        FROM usage_event u
        WHERE u.tenant_id = a.tenant_id AND (a.key_id IS NULL OR u.family_id = a.key_id)
            AND (a.skill = '' OR u.skill = a.skill)
            AND CASE a."window" WHEN 'month' THEN u.month ELSE u.day END = a.period
    ) e
"""


def faults(stack: Stack) -> list[str]:
    """Return every breach of I1 to I5 and I12, in words."""
    events = stack.sql("SELECT * FROM usage_event ORDER BY tenant_id, number")
    calls = stack.calls()
    checks = [
        unbalanced(stack.sql(_ACCOUNTS)),
        overspent(stack.sql(_ACCOUNTS)),
        unmatched(events, calls),
        untrue(events, calls),
        unclosed([event for event in events if str(event["id"]) not in stack.abandoned]),
        unnumbered(events, stack.sql("SELECT tenant_id, last_number FROM usage_tenanttally")),
    ]
    return [fault for check in checks for fault in check]


def unbalanced(accounts: list[Row]) -> list[str]:
    """I1: what an account holds and has spent is what its events say; with no event open (I5) it holds nothing."""
    found = []
    for account in accounts:
        for unit in ("tokens", "micros"):
            if account[f"reserved_{unit}"] != account[f"open_{unit}"]:
                found.append(f"I1: reserved_{unit} of {account} is not the sum of its open events")
            if account[f"settled_{unit}"] != account[f"charged_{unit}"]:
                found.append(f"I1: settled_{unit} of {account} is not the sum of its closed events")
    return found


def overspent(accounts: list[Row]) -> list[str]:
    """I2: no account is above its limit."""
    found = []
    for account in accounts:
        for unit in ("tokens", "micros"):
            limit = account[f"limit_{unit}"]
            if limit is not None and account[f"settled_{unit}"] + account[f"reserved_{unit}"] > limit:
                found.append(f"I2: {account} is above its limit of {unit}")
    return found


def unmatched(events: list[Row], calls: list[Row]) -> list[str]:
    """I3: each call has its one event and each event its one call, unless it is estimated, or was never sent."""
    by_id = {str(event["id"]): event for event in events}
    times = Counter(call["client_reference"] for call in calls)
    found = [f"I3: {count} calls for the event {reference}" for reference, count in times.items() if count > 1]
    for call in calls:
        event = by_id.get(call["client_reference"] or "")
        if event is None:
            found.append(f"I3: no event for the call {call}")
        elif event["state"] == "released":
            found.append(f"I3: the event of a billed call was released: {call}, {_short(event)}")
    for event_id, event in by_id.items():
        if event["state"] == "settled" and event_id not in times:
            found.append(f"I3: settled without a call: {_short(event)}")
    return found


def untrue(events: list[Row], calls: list[Row]) -> list[str]:
    """I4: settled is what was billed, in each class of tokens; estimated is never below it."""
    by_id = {str(event["id"]): event for event in events}
    found = []
    for call in calls:
        event = by_id.get(call["client_reference"] or "")
        if event is None:
            continue
        charged = {name: event[name] for name in _CLASSES}
        if event["state"] == "settled" and charged != call["usage"]:
            found.append(f"I4: settled at {charged}, billed {call['usage']}: {_short(event)}")
        if event["state"] == "estimated" and not _covers(charged, call["usage"]):
            found.append(f"I4: estimated at {charged}, billed {call['usage']}: {_short(event)}")
    return found


def unclosed(events: list[Row]) -> list[str]:
    """I5: every event is closed, at the latest 30 s after its lease."""
    still_open = [f"I5: still open: {_short(event)}" for event in events if event["state"] == "open"]
    return still_open + [
        f"I5: swept {event['closed_at'] - event['lease_until']} after its lease: {_short(event)}"
        for event in events
        if event["error_type"] == "lease_lapsed" and (event["closed_at"] - event["lease_until"]).total_seconds() > 30
    ]


def unnumbered(events: list[Row], tallies: list[Row]) -> list[str]:
    """I12: a tenant's numbers have no gap and follow the order of admission."""
    found = []
    for tally in tallies:
        own = [event for event in events if event["tenant_id"] == tally["tenant_id"]]
        if [event["number"] for event in own] != list(range(1, tally["last_number"] + 1)):
            found.append(f"I12: the numbers of tenant {tally['tenant_id']} are not 1 to {tally['last_number']}")
        opened = [event["opened_at"] for event in own]
        if opened != sorted(opened):
            found.append(f"I12: the numbers of tenant {tally['tenant_id']} do not follow the order of admission")
    return found


def _covers(charged: dict[str, int], billed: dict[str, int]) -> bool:
    """Output against output, and all that went in together: a bound does not know what was cached."""
    went_in = [name for name in _CLASSES if name != "output_tokens"]
    return charged["output_tokens"] >= billed["output_tokens"] and sum(charged[name] for name in went_in) >= sum(
        billed[name] for name in went_in
    )


def _short(event: Row) -> Row:
    shown = ("id", "number", "state", "error_type", "reserved_tokens", "charged_tokens", "opened_at", "closed_at")
    return {name: str(event[name]) for name in shown}
