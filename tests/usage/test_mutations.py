"""Each guard, switched off, is missed by a named test: so these tests do check what they say."""

import inspect
import textwrap
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import pytest

from skills.claude import observation
from skills.claude.observation import Observation
from tests.usage import test_ledger, test_observation, test_refusals
from tests.usage.desk import Desk, do, look

MISSED = (AssertionError, pytest.fail.Exception)


@contextmanager
def mutated(function: str, text: str, other: str) -> Iterator[None]:
    """Within it, an SQL function has `other` where it had `text`."""
    original = look("SELECT pg_get_functiondef(%s::regproc) AS source", [function])[0]["source"]
    assert original.count(text) == 1, f"{function} no longer says {text!r}"
    do(original.replace(text, other).replace("%", "%%"))
    try:
        yield
    finally:
        do(original.replace("%", "%%"))


async def assert_misses(test: Callable[..., Awaitable[None]], *given: object) -> None:
    with pytest.raises(MISSED):
        await test(*given)


async def test_without_the_sweep(desk: Desk) -> None:
    with mutated("usage_sweep", "CONTINUE WHEN v_items = '{}'", "CONTINUE"):
        await assert_misses(test_ledger.test_sweep_closes_a_lapsed_event_at_its_whole_reservation, desk)


async def test_without_the_reserve_condition(prices: None) -> None:
    with mutated("usage_fits", "p_settled + p_reserved + p_ask <= p_limit", "p_limit IS NOT NULL"):
        await assert_misses(test_refusals.test_the_last_token_can_be_used, prices)


async def test_with_a_reserve_condition_that_is_too_strict(prices: None) -> None:
    # The refusal that nothing justifies finds no budget that is too tight.
    with mutated("usage_fits", "<= p_limit", "< p_limit"), pytest.raises(ValueError, match="empty"):
        await test_refusals.test_the_last_token_can_be_used(prices)


async def test_without_the_lease_condition_of_the_sweep(desk: Desk) -> None:
    with (
        mutated("usage_sweep", "e.lease_until < usage_clock() AND e.tenant_id", "e.tenant_id"),
        mutated("usage_close", "NOT i.lapsed_only OR e.lease_until < v_now", "true"),
    ):
        await assert_misses(test_ledger.test_sweep_closes_a_lapsed_event_at_its_whole_reservation, desk)


async def test_without_the_lease_condition_of_the_closing(desk: Desk) -> None:
    with mutated("usage_close", "NOT i.lapsed_only OR e.lease_until < v_now", "true"):
        await assert_misses(test_ledger.test_a_lease_that_was_renewed_after_the_sweep_had_looked_is_respected, desk)


async def test_without_the_rule_that_an_event_is_closed_once(desk: Desk) -> None:
    with mutated(
        "usage_close", "e.state = 'estimated' AND i.state IN ('settled', 'released')", "e.state = 'estimated'"
    ):
        await assert_misses(test_ledger.test_an_estimate_is_not_replaced_by_another_estimate, desk)


def test_without_the_message_stop_check(monkeypatch: pytest.MonkeyPatch) -> None:
    source = textwrap.dedent(inspect.getsource(Observation.closing))
    assert source.count("self.is_finished and ") == 1
    namespace = dict(vars(observation))
    exec(source.replace("self.is_finished and ", ""), namespace)  # the product's own method, less one condition
    monkeypatch.setattr(Observation, "closing", namespace["closing"])

    with pytest.raises(MISSED):
        test_observation.test_a_stream_without_message_stop_is_estimated()


async def test_unmutated_all_of_them_pass(desk: Desk) -> None:
    await test_ledger.test_sweep_closes_a_lapsed_event_at_its_whole_reservation(desk)
    test_observation.test_a_stream_without_message_stop_is_estimated()
