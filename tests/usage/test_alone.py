"""What comes alone goes by statements of its own: its guards are each missed, and the general way says the same."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from typing import Any

import orjson
import psycopg
import pytest

from kit.errors import AuthenticationFailed
from tests.usage import test_ledger, test_windows
from tests.usage.desk import Desk, account, ask, do, events, look, open_desk, settled
from tests.usage.test_mutations import assert_misses, mutated
from usage import verification
from usage.ledger import Reservation
from usage.ledger.entries import admission_row, closing_row

DAILY = {"window": "day", "limit_tokens": 100}


@pytest.fixture
def general_way(prices: None) -> Iterator[None]:
    """The common cases switched off: also what comes alone goes as a batch of one."""
    with ExitStack() as switched_off:
        for function in ("usage_reserve_one", "usage_close_one"):
            switched_off.enter_context(mutated(function, "BEGIN\n", "BEGIN\nRETURN NULL;\n"))
        yield


@pytest.mark.usefixtures("general_way")
@pytest.mark.parametrize(
    "test",
    [
        test_windows.test_every_level_and_window_counts_and_only_its_own_scope,
        test_ledger.test_settle_books_what_was_used_and_frees_the_rest,
        test_ledger.test_settle_twice_changes_nothing,
    ],
)
async def test_the_general_way_says_the_same_of_what_comes_alone(
    desk: Desk, test: Callable[[Desk], Awaitable[None]]
) -> None:
    await test(desk)


def applied(closings: list[dict[str, Any]], calls: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Send a batch as the lanes do; return its answers by their ordinals."""
    answers = look(
        "SELECT * FROM usage_apply(%s::jsonb, %s::jsonb)",
        [orjson.dumps(closings).decode(), orjson.dumps(calls).decode()],
    )
    return {row["ordinal"]: row for row in answers}


def test_in_a_batch_each_tenants_one_call_is_admitted_or_refused_for_itself(prices: None) -> None:
    desks = [open_desk("one"), open_desk("tight", tokens=100), open_desk("three")]
    asked = [ask(10) for _ in desks]
    opened = applied(
        [], [admission_row(d.caller, a, ordinal=n) for n, (d, a) in enumerate(zip(desks, asked, strict=True))]
    )
    first = Reservation(desks[0].caller, asked[0], *(opened[0][name] for name in ("month", "number", "opened_at")))

    answers = applied(
        [closing_row(first, settled(4), ordinal=0)],
        [admission_row(desk.caller, ask(95), ordinal=place) for place, desk in enumerate(desks, 1)],
    )

    assert {place: row["outcome"] for place, row in answers.items()} == {0: "closed", 1: "open", 2: "budget", 3: "open"}
    assert [answers[place]["number"] for place in (1, 3)] == [2, 2]
    assert [account(desk)["reserved_tokens"] for desk in desks] == [95, 10, 105]
    assert account(desks[0])["settled_tokens"] == 4
    assert verification.verify().findings == []


async def test_the_fields_of_what_is_sent_alone_stand_in_the_order_of_their_types(desk: Desk) -> None:
    reservation = await desk.reserve(10)
    sent = {
        "usage_call": admission_row(desk.caller, reservation.admission, ordinal=0),
        "usage_closing": closing_row(reservation, settled(4), ordinal=0),
    }

    for name, row in sent.items():
        columns = look(
            "SELECT attname FROM pg_attribute JOIN pg_type ON typrelid = attrelid WHERE typname = %s ORDER BY attnum",
            [name],
        )
        assert list(row) == [column["attname"] for column in columns]


@pytest.mark.parametrize("foreign", ["half a pair: \ud800", "a zero: \0", "long: " + 128 * "x"])
async def test_a_text_that_postgres_cannot_hold_is_refused_and_not_cut(desk: Desk, foreign: str) -> None:
    with pytest.raises(psycopg.DataError):
        await desk.reserve(10, request_id=foreign)

    assert events(desk) == []
    assert account(desk)["reserved_tokens"] == 0
    assert (await desk.reserve(10)).number == 1


GONE = {
    "suspended": "UPDATE tenants_tenant SET status = 'suspended'",
    "revoked": "UPDATE tenants_apikey SET revoked_at = now()",
    "expired": "UPDATE tenants_apikey SET expires_at = now() - interval '1 second'",
}


@pytest.mark.parametrize("how", GONE)
async def test_who_was_admitted_before_is_refused_once_not_active(desk: Desk, how: str) -> None:
    await desk.reserve(10)
    do(GONE[how])

    with pytest.raises(AuthenticationFailed):
        await desk.reserve(10)

    assert len(events(desk)) == 1
    assert account(desk)["reserved_tokens"] == 10


@pytest.mark.parametrize(
    ("text", "how"),
    [
        ("t.status = 'active'", "suspended"),
        ("k.revoked_at IS NULL", "revoked"),
        ("(k.expires_at IS NULL OR k.expires_at > v_now)", "expired"),
    ],
)
async def test_without_a_condition_of_being_active(desk: Desk, text: str, how: str) -> None:
    with mutated("usage_reserve_one", text, "true"):
        await assert_misses(test_who_was_admitted_before_is_refused_once_not_active, desk, how)


async def test_without_the_look_for_budgets_that_have_no_account(desk: Desk) -> None:
    with mutated("usage_reserve_one", "a.id IS NOT NULL AND (", "true AND ("):
        await assert_misses(test_windows.test_a_budget_made_in_the_middle_of_its_window_knows_what_was_used, desk)


async def test_with_the_loosest_of_several_budgets(desk: Desk) -> None:
    with mutated("usage_reserve_one", "bool_and(", "bool_or("):
        await assert_misses(test_windows.test_the_tightest_of_several_budgets_decides, desk, DAILY)


async def test_without_the_booking_of_what_was_used(desk: Desk) -> None:
    with mutated("usage_close_one", "a.settled_tokens + v_event.charged_tokens", "a.settled_tokens"):
        await assert_misses(test_ledger.test_settle_books_what_was_used_and_frees_the_rest, desk)
