"""A refusal names the budget, says what is left of it, and each of its suggestions, applied, passes."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kit import clock, ids
from kit.errors import BudgetExceeded
from tenants import budgets
from tenants.models import Budget
from tests.factories import outside_of_the_loop
from tests.usage.desk import MODEL, Desk, account, ask, events, open_desk, settled
from usage import ledger, pricing
from usage.ledger import Admission

SetClock = Callable[[str], None]


def limit(desk: Desk, **terms: Any) -> Budget:
    return outside_of_the_loop(lambda: budgets.set_budget(desk.tenant, now=clock.now(), **terms))


async def priced(admission: Admission, *, on: datetime | None = None) -> Admission:
    book = await pricing.current()
    micros = book.upper_bound(
        admission.model,
        input_tokens=admission.input_tokens,
        output_tokens=admission.output_tokens,
        on=(on or clock.now()).date(),
    )
    return replace(admission, event_id=ids.uuid7(), micros=micros, price_version=book.version)


async def refusal_of(desk: Desk, admission: Admission) -> BudgetExceeded:
    before = events(desk), account(desk)
    with pytest.raises(BudgetExceeded) as refused:
        await ledger.reserve(desk.caller, admission)
    assert (events(desk), account(desk)) == before
    return refused.value


async def test_it_says_whose_limit_it_is_and_how_much_is_left(prices: None, set_clock: SetClock) -> None:
    set_clock("2026-07-15 12:00:00+00")
    desk = open_desk(tokens=1000, key_tokens=500, timezone="Europe/Berlin")
    first = await desk.reserve(200)
    await ledger.settle(first, settled(150))
    await desk.reserve(100)

    refused = await refusal_of(desk, ask(300))

    expected = {
        "reason": "budget_exceeded",
        "owner": "key",
        "skill": None,
        "unit": "tokens",
        "window": "month",
        "cap": 500,
        "used": 150,
        "reserved": 100,
        "left": 250,
        "requested": 300,
        "resets_at": "2026-08-01T00:00:00+02:00",
        "would_pass": {"max_tokens": 100, "models": [], "after": "2026-08-01T00:00:00+02:00"},
    }
    assert refused.details == expected
    assert "250 tokens left" in refused.message


@pytest.mark.parametrize("tight", ["tenant month", "key month", "key day", "tenant cost", "skill"])
async def test_the_largest_max_tokens_passes_and_one_more_does_not(prices: None, tight: str) -> None:
    desk = open_desk()
    terms: dict[str, dict[str, Any]] = {
        "tenant month": {"limit_tokens": 1000},
        "key month": {"key": desk.key, "limit_tokens": 1000},
        "key day": {"key": desk.key, "window": "day", "limit_tokens": 1000},
        "tenant cost": {"limit_tokens": 10**9, "limit_micros": 3000},
        "skill": {"skill": "complete", "limit_tokens": 1000, "limit_micros": 4000},
    }
    limit(desk, **terms[tight])
    asked = await priced(ask(4000, output=3300))

    refused = await refusal_of(desk, asked)

    most = refused.details["would_pass"]["max_tokens"]
    await refusal_of(desk, await priced(replace(asked, output_tokens=most + 1)))
    assert (await ledger.reserve(desk.caller, await priced(replace(asked, output_tokens=most)))).number == 1


async def test_each_cheaper_model_passes(prices: None) -> None:
    desk = open_desk()
    limit(desk, limit_tokens=10**9, limit_micros=14_000)
    asked = await priced(ask(4000, output=2000, model="claude-opus-5"))

    refused = await refusal_of(desk, asked)

    models = refused.details["would_pass"]["models"]
    assert models == [MODEL, "claude-haiku-5-5"]
    for model in models:
        reservation = await ledger.reserve(desk.caller, await priced(replace(asked, model=model)))
        await ledger.settle(reservation, ledger.Closing("released"))


async def test_only_models_that_the_key_may_name_are_suggested(prices: None) -> None:
    desk = open_desk()
    limit(desk, limit_tokens=10**9, limit_micros=14_000)
    asked = await priced(ask(4000, output=2000, model="claude-opus-5"))
    picky = replace(desk, caller=replace(desk.caller, allowed_models=frozenset({"claude-opus-5", MODEL})))

    refused = await refusal_of(picky, asked)

    assert refused.details["would_pass"]["models"] == [MODEL]


@pytest.mark.parametrize(
    ("window", "after"), [("day", "2026-07-16T00:00:00-04:00"), ("month", "2026-08-01T00:00:00-04:00")]
)
async def test_at_the_time_it_names_the_same_call_passes(
    prices: None, set_clock: SetClock, window: str, after: str
) -> None:
    set_clock("2026-07-15 12:00:00+00")
    desk = open_desk(timezone="America/New_York")
    limit(desk, key=desk.key, window=window, limit_tokens=1000)
    await ledger.settle(await desk.reserve(900), settled(900))

    refused = await refusal_of(desk, ask(200))

    assert refused.details["would_pass"]["after"] == after
    just_before = (datetime.fromisoformat(after) - timedelta(seconds=1)).astimezone(UTC)
    set_clock(just_before.isoformat())
    await refusal_of(desk, ask(200))
    set_clock(after)
    assert (await desk.reserve(200)).number == 2


async def test_a_time_is_not_named_on_the_strength_of_an_increase_that_will_be_over(
    prices: None, set_clock: SetClock
) -> None:
    set_clock("2026-07-15 12:00:00+00")
    desk = open_desk()
    limit(desk, window="day", limit_tokens=1000)
    month = limit(desk, limit_tokens=1000)
    now = datetime(2026, 7, 15, 11, tzinfo=UTC)
    outside_of_the_loop(
        lambda: budgets.increase(month, extra_tokens=5000, ends_at=now + timedelta(hours=2), reason="fair", now=now)
    )
    await ledger.settle(await desk.reserve(900), settled(900))

    refused = await refusal_of(desk, ask(500))

    after = refused.details["would_pass"]["after"]
    assert after == "2026-08-01T00:00:00+00:00"  # tomorrow the day is new, but the month is full again
    set_clock("2026-07-16 00:00:00+00")
    await refusal_of(desk, ask(500))
    set_clock(after)
    assert (await desk.reserve(500)).number == 2


async def test_what_exceeds_the_whole_cap_is_told_so(prices: None) -> None:
    desk = open_desk(tokens=100)

    refused = await refusal_of(desk, ask(300, output=10))

    assert refused.details["would_pass"] == {"max_tokens": None, "models": [], "after": None}
    assert "larger than the whole budget" in refused.message


async def test_the_last_token_can_be_used(prices: None) -> None:
    desk = open_desk(tokens=100)

    await desk.reserve(99)
    await refusal_of(desk, ask(2))
    await desk.reserve(1, output=0)

    assert account(desk)["reserved_tokens"] == 100
