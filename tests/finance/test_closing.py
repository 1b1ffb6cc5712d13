"""A closed month stays as it was closed; whatever comes later is booked in the next, with where it comes from."""

import json
from collections.abc import Callable
from datetime import date
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError
from pytest_django import Settings

from kit import clock
from kit.errors import Conflict, NotFound
from tenants.models import AuditEntry, Tenant
from tests.finance.books import estimate, settle, tamper, undone, use
from tests.usage.desk import Desk, do, events, look, open_desk
from usage import closing, pricing, reports, tasks, verification

SetClock = Callable[[str], None]
JULY, AUGUST = date(2026, 7, 1), date(2026, 8, 1)


@pytest.fixture
def july(prices: None, set_clock: SetClock) -> Desk:
    """A tenant in Berlin that used 60 tokens in July and 5 in August, on August's second day."""
    set_clock("2026-07-10 12:00:00+00")
    desk = open_desk(timezone="Europe/Berlin")
    use(desk, [10, 20])
    set_clock("2026-07-31 21:59:59+00")
    use(desk, [30])
    set_clock("2026-08-02 12:00:00+00")
    use(desk, [5])
    return desk


def states(desk: Desk) -> list[tuple[str, str]]:
    return [(f"{one.month:%m}", one.state) for one in closing.standings(desk.tenant.pk)]


def findings() -> list[tuple[str, str]]:
    return [(one.subject.split(" (")[0], one.fault) for one in verification.verify().findings]


def adjustments() -> list[tuple[str, str, int, int]]:
    rows = look("SELECT * FROM usage_adjustment ORDER BY id")
    return [(row["kind"], f"{row['month']:%m}", row["charged_tokens"], row["cost_micros"]) for row in rows]


def test_a_month_is_draft_then_in_grace_then_closed_by_itself(july: Desk, set_clock: SetClock) -> None:
    assert states(july) == [("08", "draft"), ("07", "grace")]
    set_clock("2026-08-03 21:59:59+00")  # a second before three days of grace are over in Berlin
    tasks.close_months()
    assert states(july)[1] == ("07", "grace")

    set_clock("2026-08-03 22:00:00+00")
    tasks.close_months()
    tasks.close_months()

    assert states(july) == [("08", "draft"), ("07", "closed")]
    statement = closing.statement_of(july.tenant.pk, JULY)
    assert statement is not None
    figures = json.loads(statement.figures)
    assert (statement.number, statement.closed_by, figures["previous"]) == (1, "system", None)
    assert figures["report"] == json.loads(json.dumps(reports.month(july.tenant.pk, JULY).as_json()))
    assert figures["totals"] == {"charged_tokens": 60, "cost_micros": 60, "billed_micros": 60}
    assert figures["sealed"]["last_number"] == 4  # what is over is sealed first, the newest day included
    entry = AuditEntry.objects.get(action="month.closed")
    assert (entry.subject, entry.details["sha256"]) == ("2026-07", statement.sha256)
    assert findings() == []


def test_what_cannot_be_closed_is_refused_and_nothing_is_written(july: Desk, set_clock: SetClock) -> None:
    with pytest.raises(Conflict, match="not over yet"):
        closing.close(july.tenant, month=AUGUST)
    with pytest.raises(NotFound, match="no such month"):
        closing.close(july.tenant, month=date(2026, 6, 1))
    set_clock("2026-09-01 12:00:00+00")
    with pytest.raises(Conflict, match="Close 2026-07 first"):
        closing.close(july.tenant, month=AUGUST)
    tamper(
        "UPDATE usage_event SET state = 'open', closed_at = NULL, charged_tokens = 0, input_tokens = 0, cost_micros = 0 WHERE number = 3"
    )
    with pytest.raises(Conflict, match="1 calls of 2026-07 are not settled"):
        closing.close(july.tenant, month=JULY)

    assert look("SELECT count(*) AS n FROM usage_statement") == [{"n": 0}]
    assert not AuditEntry.objects.filter(action="month.closed").exists()


def test_statements_are_numbered_without_a_gap_and_idle_months_have_one(july: Desk, set_clock: SetClock) -> None:
    set_clock("2026-11-10 12:00:00+00")
    tasks.close_months()

    rows = look("SELECT number, month FROM usage_statement ORDER BY number")
    assert [(row["number"], row["month"].month) for row in rows] == [(1, 7), (2, 8), (3, 9), (4, 10)]
    with pytest.raises(Conflict, match="closed already, by statement 2"):
        closing.close(july.tenant, month=AUGUST)
    assert findings() == []


def test_a_late_correction_is_booked_in_the_next_month(july: Desk, set_clock: SetClock) -> None:
    kept = estimate(july, 100)
    set_clock("2026-09-01 12:00:00+00")
    closing.close(july.tenant, month=JULY, actor="fiona")
    closing.close(july.tenant, month=AUGUST, actor="fiona")
    before = closing.statement_of(july.tenant.pk, AUGUST)
    assert before is not None

    assert settle(kept, 30) == "estimated"

    assert adjustments() == [("correction", "09", -70, -470)]
    after = closing.statement_of(july.tenant.pk, AUGUST)
    assert after is not None
    assert after.figures == before.figures
    set_clock("2026-10-01 12:00:00+00")
    september = json.loads(closing.close(july.tenant, month=date(2026, 9, 1)).figures)
    assert september["totals"] == {"charged_tokens": -70, "cost_micros": -470, "billed_micros": -470}
    assert september["adjustments"][0]["origin_month"] == "2026-08"
    assert september["adjustments"][0]["reason"] == "estimated when it was sealed, settled since"
    assert findings() == []


def test_a_tenant_that_moves_west_comes_back_to_a_closed_month(prices: None, set_clock: SetClock) -> None:
    set_clock("2026-07-31 11:00:00+00")  # August in Auckland is an hour away
    desk = open_desk(timezone="Pacific/Auckland")
    use(desk, [10])
    set_clock("2026-07-31 12:30:00+00")
    closing.close(desk.tenant, month=JULY, actor="fiona")
    Tenant.objects.filter(pk=desk.tenant.pk).update(timezone="Pacific/Honolulu")
    desk.tenant.refresh_from_db()
    use(desk, [7])
    assert events(desk)[1]["month"] == JULY

    assert [closing.book_late(desk.tenant.pk), closing.book_late(desk.tenant.pk)] == [1, 0]

    assert adjustments() == [("late", "08", 7, 7)]
    set_clock("2026-08-02 12:00:00+00")
    tasks.seal_days()
    assert findings() == []


def test_what_is_done_to_a_statement_is_found(july: Desk, set_clock: SetClock) -> None:
    set_clock("2026-09-10 12:00:00+00")
    tasks.close_months()
    doings = {
        "UPDATE usage_statement SET figures = replace(figures, '\"cost_micros\":60', '\"cost_micros\":61') WHERE number = 1": "its figures are not those that were hashed",
        "UPDATE usage_statement SET month = '2026-05-01' WHERE number = 1": "its columns are not what was signed",
        "DELETE FROM usage_statement WHERE number = 1": "its number does not follow 0: a statement is missing",
    }
    for statement, fault in doings.items():
        with undone():
            tamper(statement, table="usage_statement")
            assert fault in [words for _, words in findings()], statement
    with undone():
        tamper("UPDATE usage_event SET cost_micros = 61 WHERE number = 3")
        assert (f"statement {july.tenant.pk}/1", "cost_micros is 60, its events say 91") in findings()
    with undone():
        do(
            "INSERT INTO usage_adjustment (tenant_id, month, kind, origin_day, key_id, skill, model, cost_micros, reason, created_by)"
            " SELECT tenant_id, '2026-08-01', 'rerating', '2026-07-10', key_id, skill, model, 5, 'x', 'y' FROM usage_event LIMIT 1"
        )
        assert "the adjustments that are booked in it are not those that it was closed with" in [
            words for _, words in findings()
        ]
    with pytest.raises(IntegrityError):
        do("UPDATE usage_statement SET closed_by = 'nobody'")
    assert findings() == []


def dearer_prices(july: Desk, where: Path) -> Desk:
    """July is closed, and a price version is loaded in which haiku's input costs three times as much."""
    closing.close(july.tenant, month=JULY)
    text = pricing.SHIPPED.read_text()
    start = text.index('model = "claude-haiku-4-5"')
    (where / "prices.toml").write_text(text[:start] + text[start:].replace('input = "1"', 'input = "3"', 1))
    book, is_new = pricing.load(where / "prices.toml", now=clock.now())
    assert is_new
    assert pricing.version(book.pk).bands["claude-haiku-4-5"][0].micros["input"] == 3_000_000
    return july


class TestRerating:
    @pytest.fixture
    def dearer(self, july: Desk, tmp_path: Path) -> Desk:
        return dearer_prices(july, tmp_path)

    def rerate(self, *options: str) -> dict[str, object]:
        out = StringIO()
        call_command(
            "rerate", "--model=claude-haiku-4-5", "--from=2026-07-01", "--to=2026-08-31", "--json", *options, stdout=out
        )
        (one,) = json.loads(out.getvalue())["tenants"]
        found: dict[str, object] = one
        return found

    def test_the_preview_is_what_is_booked_and_again_books_nothing(self, dearer: Desk) -> None:
        before = events(dearer)
        preview = self.rerate()
        assert adjustments() == []
        assert (preview["calls"], preview["cost_micros"], preview["new_cost_micros"]) == (4, 65, 195)

        assert self.rerate("--apply", "--reason=a wrong price") == preview
        assert self.rerate("--apply", "--reason=a wrong price")["difference_micros"] == 0

        # Two days of July and one of August, all booked in August, which is open.
        assert adjustments() == [("rerating", "08", 0, 60), ("rerating", "08", 0, 60), ("rerating", "08", 0, 10)]
        assert sum(row[3] for row in adjustments()) == preview["difference_micros"] == 130
        assert events(dearer) == before
        assert AuditEntry.objects.filter(action="usage.rerated").count() == 1
        assert [one.billed_micros for one in closing.of_month(dearer.tenant.pk, AUGUST).origins] == [120, 10]
        assert findings() == []

    def test_yet_another_price_books_the_rest(self, dearer: Desk) -> None:
        self.rerate("--apply", "--reason=a wrong price")

        assert self.rerate("--apply", "--reason=back again", "--price-version=1")["difference_micros"] == -130
        assert sum(row[3] for row in adjustments()) == 0

    def test_what_is_charged_follows_the_tariff(self, dearer: Desk) -> None:
        do(
            "INSERT INTO usage_tariff (tenant_id, effective_from, markup_basis_points, source, created_by)"
            " VALUES (%s, '2026-08-01', 5000, 'contract', 'olga')",
            [dearer.tenant.pk],
        )

        preview = self.rerate()

        # August's 5 micro-dollars are charged as 8 (7.5, half up), the new 15 as 23.
        assert preview["billed_difference_micros"] == 120 + 15
        assert preview["difference_micros"] == 130

    def test_an_unknown_price_is_said_and_books_nothing(self, dearer: Desk) -> None:
        with pytest.raises(CommandError, match="no such price version"):
            self.rerate("--apply", "--reason=x", "--price-version=99")
        assert adjustments() == []


def test_a_grace_of_ones_own_counts(july: Desk, settings: Settings) -> None:
    settings.CLOSING_GRACE_DAYS = 1

    assert closing.close_due() == 1
