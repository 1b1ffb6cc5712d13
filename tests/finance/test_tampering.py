"""Whatever column of a kept row is changed by SQL, `verify_ledger` names the row."""

from collections.abc import Callable
from datetime import date

import pytest

from tests.finance.books import estimate, settle, tamper, undone, use
from tests.usage.desk import Desk, look, open_desk
from usage import closing, verification

SetClock = Callable[[str], None]
# Another value of the same type, which no constraint of the table refuses.
OTHER = {
    "bigint": "{0} + 1",
    "integer": "coalesce({0}, 0) + 1",
    "smallint": "{0} + 1",
    "uuid": "gen_random_uuid()",
    "timestamp with time zone": "{0} + interval '1 microsecond'",
    "date": "{0} - 1",
    "character varying": "left({0}, 14) || 'x'",
    "text": "replace({0}, '\":', '\": ')",
    "bytea": "{0} || 'x'::bytea",
}


def columns(table: str) -> dict[str, str]:
    rows = look(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = %s AND column_name <> 'tenant_id'"
        " AND is_identity = 'NO' ORDER BY ordinal_position",
        [table],
    )
    return {row["column_name"]: OTHER[row["data_type"]].format(f'"{row["column_name"]}"') for row in rows}


def named() -> list[str]:
    return [one.subject for one in verification.verify().findings]


@pytest.fixture
def july(prices: None, set_clock: SetClock) -> Desk:
    """Forty sealed events of July, which is closed, an adjustment of it, and an event of August's third day."""
    set_clock("2026-07-10 12:00:00+00")
    desk = open_desk()
    use(desk, [10] * 39)
    kept = estimate(desk, 100)
    set_clock("2026-08-02 12:00:00+00")
    closing.close(desk.tenant, month=date(2026, 7, 1))
    settle(kept, 30)
    set_clock("2026-08-03 12:00:00+00")
    use(desk, [5])
    closing.prove_due()
    return desk


# What is made anew from the rest at once, or says nothing about usage.
HARMLESS = {"usage_dayrevision": {"revision", "rolled_revision"}}
# Constraints of the table refuse these by themselves; of most classes of tokens the sum is changed with them.
REFUSED = {
    "usage_event": {"number", "key_id", "family_id"},
    "usage_dailyusage": {"key_id"},
    "usage_provisionalusage": {"key_id"},
    "usage_statement": {"month"},
    "usage_adjustment": {"month", "kind", "key_id"},
    "usage_budgetaccount": {"key_id"},
}
CLASSES = ("input_tokens", "output_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens", "cache_read_tokens")
ROWS = {
    "usage_dailyusage": ("day = '2026-07-10'", "tenant {0} day 2026-07-"),
    "usage_tenantday": ("day = '2026-07-10'", "tenant {0} day 2026-07-"),
    "usage_dayrevision": ("day = '2026-07-10'", "tenant {0} day 2026-07-"),
    "usage_provisionalusage": ("number = 40", "tenant {0} day 2026-07-10 event {0}/40"),
    "usage_seal": ("sequence = 1", "seal {0}/"),
    "usage_statement": ("number = 1", "statement {0}/"),
    "usage_adjustment": ("true", "adjustment {0}/"),
    "usage_adjustmentproof": ("true", "adjustment {0}/"),
    "usage_budgetaccount": ("key_id IS NULL AND period = '2026-07-01'", "account "),
    "usage_tenanttally": ("true", "event {0}/42"),
}


def test_whichever_column_of_a_kept_row_is_changed_the_row_is_named(july: Desk) -> None:
    assert named() == []

    for table, (row, subject) in ROWS.items():
        for name, other in columns(table).items():
            if name in REFUSED.get(table, ()) or name in HARMLESS.get(table, ()):
                continue
            with undone():
                tamper(f'UPDATE {table} SET "{name}" = {other} WHERE {row}', table=table)
                assert any(one.startswith(subject.format(july.tenant.pk)) for one in named()), f"{table}.{name}"


def test_whichever_column_of_a_sealed_event_is_changed_the_event_is_named(july: Desk) -> None:
    """Each column in an event of its own, and one look at all of them."""
    changed = [(name, other) for name, other in columns("usage_event").items() if name not in REFUSED["usage_event"]]

    with undone():
        for number, (name, other) in enumerate(changed, 1):
            also = ", charged_tokens = charged_tokens + 1" if name in CLASSES else ""
            also = ", input_tokens = input_tokens + 1" if name == "charged_tokens" else also
            tamper(f'UPDATE usage_event SET "{name}" = {other}{also} WHERE number = {number}')
        found = {one.subject.split(" (")[0] for one in verification.verify().findings if one.check == "seals"}

    assert found == {f"event {july.tenant.pk}/{number}" for number in range(1, len(changed) + 1)}


def test_an_adjustment_that_is_removed_or_added_is_named(july: Desk) -> None:
    with undone():
        tamper("DELETE FROM usage_adjustment", table="usage_adjustment")
        assert [(one.check, one.fault) for one in verification.verify().findings] == [
            ("adjustments", "deleted after it was signed")
        ]
    with undone():
        tamper("UPDATE usage_adjustment SET id = id - 1", table="usage_adjustment")
        assert "inserted: it was not there" in str([one.fault for one in verification.verify().findings])
