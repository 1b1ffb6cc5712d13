"""What comes alone goes by statements of its own: its guards are each missed, and the general way says the same."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack

import pytest

from kit.errors import AuthenticationFailed
from tests.usage import test_ledger, test_windows
from tests.usage.desk import Desk, account, do, events
from tests.usage.test_mutations import assert_misses, mutated

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
    with mutated("usage_reserve_one", "count(coalesce(a.base_tokens, a.base_micros)) = (", "0 <= ("):
        await assert_misses(test_windows.test_a_budget_made_in_the_middle_of_its_window_knows_what_was_used, desk)


async def test_with_the_loosest_of_several_budgets(desk: Desk) -> None:
    with mutated("usage_reserve_one", "bool_and(", "bool_or("):
        await assert_misses(test_windows.test_the_tightest_of_several_budgets_decides, desk, DAILY)


async def test_without_the_booking_of_what_was_used(desk: Desk) -> None:
    with mutated("usage_close_one", "a.settled_tokens + v_event.charged_tokens", "a.settled_tokens"):
        await assert_misses(test_ledger.test_settle_books_what_was_used_and_frees_the_rest, desk)
