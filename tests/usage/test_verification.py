"""`verify_ledger` finds what is wrong, names it, repairs only what follows from the events."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core import mail
from django.core.management import CommandError, call_command

from tenants.models import User
from tests.usage.desk import Desk, account, closing_pool, do, events, lapse, open_desk
from usage import ledger, rollups, tasks, verification
from usage.ledger import Closing, Reservation
from usage.pricing import Tokens

Books = list[dict[str, Any]]
# What nobody may do: the triggers that refuse it are switched off for a moment.
UNGUARDED = "ALTER TABLE usage_event DISABLE TRIGGER USER; {}; ALTER TABLE usage_event ENABLE TRIGGER USER"


@pytest.fixture
def used(prices: None) -> tuple[Desk, Books]:
    """A ledger with one event of each state, and the books of who answered."""
    desk = open_desk()
    books: Books = []

    async def work() -> None:
        for tokens in (Tokens(input=10, output=20, cache_write_5m=3, cache_write_1h=4, cache_read=5), Tokens(input=7)):
            reservation = await desk.reserve(100)
            cost = (
                tokens.input
                + 5 * tokens.output
                + round(1.25 * tokens.cache_write_5m + 2 * tokens.cache_write_1h + 0.1 * tokens.cache_read + 0.01)
            )
            await ledger.settle(reservation, Closing("settled", tokens, cost_micros=cost))
            books.append(billed(reservation, tokens, seq=len(books) + 1))
        await ledger.settle(await desk.reserve(100), Closing("released", error_type="overloaded_error"))
        estimated = await desk.reserve(100)
        books.append(billed(estimated, Tokens(input=50, output=30), seq=len(books) + 1))
        lapse(desk)
        await ledger.sweep()
        await desk.reserve(40)

    asyncio.run(closing_pool(work))
    rollups.refresh()
    return desk, books


def billed(reservation: Reservation, tokens: Tokens, *, seq: int) -> dict[str, Any]:
    usage = {f"{name}_tokens": count for name, count in asdict(tokens).items()}
    return {"seq": seq, "client_reference": str(reservation.event_id), "usage": usage, "outcome": "complete"}


async def _serve_from_cache(desk: Desk) -> Reservation:
    served = await desk.reserve(0, purpose="cached", micros=0)
    await ledger.settle(served, Closing("settled"))
    return served


def found(journal: Books | None = None) -> list[tuple[str, str, str]]:
    lines = None if journal is None else [verification.journal._line(record) for record in journal]
    return [(one.check, one.subject, one.fault) for one in verification.verify(journal=lines).findings]


def subject(desk: Desk, number: int) -> str:
    return f"event {desk.tenant.pk}/{number} ({events(desk)[number - 1]['id']})"


def test_a_sound_ledger_is_true(used: tuple[Desk, Books]) -> None:
    assert found(used[1]) == []


def test_it_leaves_no_trace_and_runs_beside_traffic(used: tuple[Desk, Books]) -> None:
    desk, _ = used
    before = events(desk), account(desk)

    verification.verify()

    assert (events(desk), account(desk)) == before


@pytest.mark.parametrize("column", ["reserved_tokens", "settled_tokens", "reserved_micros", "settled_micros"])
def test_a_wrong_counter_is_found_and_repaired(used: tuple[Desk, Books], column: str) -> None:
    desk, _ = used
    right = account(desk)
    do(f"UPDATE usage_budgetaccount SET {column} = {column} + 1 WHERE key_id IS NULL")

    ((check, where, fault),) = found()

    assert check == "I1 accounts"
    assert f"tenant {desk.tenant.pk} key * skill * month" in where
    assert fault == f"{column} is {right[column] + 1}, its events say {right[column]}"
    out = StringIO()
    call_command("verify_ledger", "--repair", stdout=out)
    assert account(desk) == right
    assert "counters set to what its events say" in out.getvalue()


def test_a_missing_event_is_a_gap(used: tuple[Desk, Books]) -> None:
    desk, _ = used
    do(UNGUARDED.format("DELETE FROM usage_event WHERE number = 2"))

    findings = found()

    assert (
        "I12 numbers",
        f"event {desk.tenant.pk}/2",
        "missing: the number was given and there is no such row",
    ) in findings


def test_missing_last_events_are_a_gap_by_the_tally(used: tuple[Desk, Books]) -> None:
    desk, _ = used
    do(UNGUARDED.format("DELETE FROM usage_event WHERE number >= 4"))

    gaps = [where for check, where, _ in found() if check == "I12 numbers"]

    assert gaps == [f"events {desk.tenant.pk}/4 to {desk.tenant.pk}/5"]


def test_an_orphaned_reservation_is_found(used: tuple[Desk, Books]) -> None:
    desk, _ = used
    lapse(desk)

    ((check, where, fault),) = found()

    assert (check, where) == ("I5 leases", subject(desk, 5))
    assert fault.startswith("open with 40 tokens reserved though its lease ended at ")


def test_a_lease_that_is_over_for_a_moment_is_the_sweeps_business(used: tuple[Desk, Books]) -> None:
    do("UPDATE usage_event SET lease_until = usage_clock() - interval '20 seconds' WHERE state = 'open'")

    assert found() == []


def test_a_wrong_cost_is_found(used: tuple[Desk, Books]) -> None:
    desk, _ = used
    do(UNGUARDED.format("UPDATE usage_event SET cost_micros = cost_micros + 1 WHERE number = 2"))

    findings = found()

    assert ("I4 costs", subject(desk, 2), "cost 8 micro-dollars, price version 1 says 7") in findings


def test_a_wrong_rollup_is_found_and_repaired(used: tuple[Desk, Books]) -> None:
    do("UPDATE usage_dailyusage SET calls = calls + 1")

    assert {check for check, _, _ in found()} == {"rollups"}

    call_command("verify_ledger", "--repair", stdout=StringIO())
    assert found() == []


def test_a_missing_partition_is_found_and_made(prices: None, set_clock: Callable[[str], None]) -> None:
    set_clock("2031-05-31 12:00:00+00")
    for month in ("2031_06", "2031_07"):
        do(f"DROP TABLE usage_event_{month}")

    assert [(check, where) for check, where, _ in found()] == [("partitions", "month 2031-06")]


def test_an_event_without_a_partition_is_found(used: tuple[Desk, Books]) -> None:
    desk, _ = used
    do(
        "INSERT INTO usage_event (id, month, day, number, tenant_id, key_id, family_id, run_id, attempt, purpose, request_id,"
        " entry_point, skill, model, state, reserved_tokens, reserved_output_tokens, reserved_micros, price_version, opened_at,"
        " lease_until) SELECT gen_random_uuid(), '2051-01-01', '2051-01-01', 6, tenant_id, key_id, family_id, run_id, attempt,"
        " purpose, request_id, entry_point, skill, model, 'open', 1, 0, 0, 1, now(), now() + interval '1 hour'"
        " FROM usage_event WHERE number = 1"
    )
    do("UPDATE usage_tenanttally SET last_number = 6")

    assert [(check, where) for check, where, _ in found()] == [("partitions", subject(desk, 6))]


class TestAgainstTheJournal:
    def test_a_call_without_an_event(self, used: tuple[Desk, Books]) -> None:
        _, books = used
        lost = {**books[0], "seq": 9, "client_reference": "00000000-0000-7000-8000-000000000000"}

        findings = found([*books, lost])

        assert findings == [
            ("I3 journal", "journal line 9", "has no event (reference 00000000-0000-7000-8000-000000000000)")
        ]

    def test_a_call_that_names_no_event(self, used: tuple[Desk, Books]) -> None:
        _, books = used

        findings = found([*books, {**books[0], "seq": 9, "client_reference": None}])

        assert findings == [("I3 journal", "journal line 9", "has no event (reference None)")]

    def test_two_calls_of_one_event(self, used: tuple[Desk, Books]) -> None:
        desk, books = used

        findings = found([*books, {**books[0], "seq": 9}])

        assert findings == [("I3 journal", subject(desk, 1), "stands for 2 upstream calls: journal lines 1, 9")]

    def test_a_settled_event_without_a_call(self, used: tuple[Desk, Books]) -> None:
        desk, books = used

        assert found(books[1:]) == [("I3 journal", subject(desk, 1), "is settled without an upstream call")]

    def test_an_answer_from_the_cache_has_no_call(self, used: tuple[Desk, Books]) -> None:
        desk, books = used
        served = asyncio.run(closing_pool(lambda: _serve_from_cache(desk)))
        rollups.refresh()
        assert found(books) == []

        findings = found([*books, billed(served, Tokens(), seq=9)])

        assert findings == [
            ("I3 journal", subject(desk, 6), "was served from the cache, and journal line 9 is a call for it")
        ]

    @pytest.mark.parametrize("name", ["input", "output", "cache_write_5m", "cache_write_1h", "cache_read"])
    def test_another_usage_in_any_class(self, used: tuple[Desk, Books], name: str) -> None:
        desk, books = used
        books[0]["usage"][f"{name}_tokens"] += 1

        ((check, where, fault),) = found(books)

        assert (check, where) == ("I3 journal", subject(desk, 1))
        assert fault.startswith(f"{name}_tokens is ")

    def test_an_estimate_below_the_truth(self, used: tuple[Desk, Books]) -> None:
        desk, books = used
        books[2]["usage"]["output_tokens"] = 51

        ((_, where, fault),) = found(books)

        assert (where, fault) == (subject(desk, 4), "is estimated at 100 tokens, below the 101 of journal line 3")

    def test_a_released_event_that_was_billed(self, used: tuple[Desk, Books]) -> None:
        desk, books = used
        books[1]["client_reference"] = str(events(desk)[2]["id"])

        faults = [(where, fault) for _, where, fault in found(books)]

        assert (subject(desk, 3), "is released though journal line 2 billed 7 tokens") in faults

    def test_a_file_counts_the_last_line_of_each_call(self, used: tuple[Desk, Books], tmp_path: Path) -> None:
        _, books = used
        started = [{"event": "started", **one, "usage": {**one["usage"], "output_tokens": 0}} for one in books]
        closed = [{"event": "closed", **one} for one in books]
        file = tmp_path / "journal.ndjson"
        file.write_text("".join(json.dumps(line) + "\n" for line in [*started, *closed]))

        call_command("verify_ledger", "--journal", str(file), stdout=StringIO())

    def test_what_cannot_be_read_is_said(self, used: tuple[Desk, Books], tmp_path: Path) -> None:
        (tmp_path / "bad").write_text("no journal\n")

        for source in (tmp_path / "bad", tmp_path / "absent"):
            with pytest.raises(CommandError, match="cannot be read"):
                call_command("verify_ledger", "--journal", str(source), stdout=StringIO())


def test_the_command_says_it_in_json_and_by_its_exit_code(used: tuple[Desk, Books]) -> None:
    out = StringIO()
    call_command("verify_ledger", "--json", stdout=out)
    assert json.loads(out.getvalue())["ok"] is True
    do("UPDATE usage_budgetaccount SET settled_tokens = 0 WHERE key_id IS NULL")

    out = StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("verify_ledger", "--json", stdout=out)

    report = json.loads(out.getvalue())
    assert ended.value.code == 1
    assert report["ok"] is False
    assert [check["findings"] for check in report["checks"] if check["check"] == "I1 accounts"] == [1]


def test_repair_never_touches_events(used: tuple[Desk, Books]) -> None:
    desk, _ = used
    do(UNGUARDED.format("DELETE FROM usage_event WHERE number = 2"))
    before = events(desk)

    with pytest.raises(SystemExit):
        call_command("verify_ledger", "--repair", stdout=StringIO())

    assert events(desk) == before
    assert {check for check, _, _ in found()} == {"I12 numbers"}


def test_the_nightly_check_tells_the_operators(used: tuple[Desk, Books]) -> None:
    User.objects.create_superuser("operator", "operator@example.com", "irrelevant")
    tasks.verify_ledger()
    assert mail.outbox == []
    do("UPDATE usage_budgetaccount SET settled_tokens = 0 WHERE key_id IS NULL")

    tasks.verify_ledger()

    (sent,) = mail.outbox
    assert (sent.to, sent.subject) == (["operator@example.com"], "The ledger check has 1 findings")
    assert "settled_tokens is 0" in str(sent.body)
