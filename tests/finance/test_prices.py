"""Models without a price are refused, or flagged at a stated bound: never booked as nothing."""

import asyncio
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from kit import clock
from kit.errors import InvalidRequest, NotAllowed
from tests.usage.desk import closing_pool, open_desk
from usage import ledger, pricing, reports, verification
from usage.pricing import Tokens, tariffs

SetClock = Callable[[str], None]
NEW = "claude-next-9"
DAY = date(2026, 7, 15)


def book_of(tenant_id: int | None) -> pricing.Book:
    return asyncio.run(closing_pool(lambda: pricing.current(tenant_id)))


def test_a_model_without_a_price_is_refused_unless_the_policy_flags_it(prices: None, settings: Settings) -> None:
    tenant = open_desk().tenant

    with pytest.raises(NotAllowed) as refused:
        book_of(tenant.pk).in_force(NEW, on=DAY)
    assert refused.value.details["reason"] == "price_unknown"

    call_command("treat_unpriced", tenant=tenant.slug, policy="flag")
    pricing.forget()
    tokens = Tokens(input=1000, output=1000)
    assert book_of(tenant.pk).cost(NEW, tokens, on=DAY) == 15_000 + 75_000
    assert NEW not in book_of(tenant.pk).priced(on=DAY)
    with pytest.raises(NotAllowed):
        book_of(None).in_force(NEW, on=DAY)

    settings.UNPRICED_MODELS = "flag"
    assert book_of(None).cost(NEW, tokens, on=DAY) == 90_000
    call_command("treat_unpriced", tenant=tenant.slug, policy="refuse")
    pricing.forget()
    with pytest.raises(NotAllowed):
        book_of(tenant.pk).in_force(NEW, on=DAY)


def test_the_bound_itself_is_no_model(prices: None, settings: Settings) -> None:
    settings.UNPRICED_MODELS = "flag"

    with pytest.raises(NotAllowed):
        book_of(None).in_force("*", on=DAY)
    assert "*" not in book_of(None).priced(on=DAY)


def test_a_flagged_call_is_listed_as_unpriced_and_the_ledger_stays_true(
    prices: None, set_clock: SetClock, settings: Settings
) -> None:
    settings.UNPRICED_MODELS = "flag"
    set_clock("2026-07-15 12:00:00+00")
    desk = open_desk()

    async def work() -> None:
        book = await pricing.current(desk.tenant.pk)
        tokens = Tokens(input=10, output=20)
        for model in (NEW, "claude-haiku-4-5"):
            cost = book.cost(model, tokens, on=DAY)
            asked = await desk.reserve(100, model=model, micros=10_000)
            await ledger.settle(asked, ledger.Closing("settled", tokens, cost_micros=cost))

    asyncio.run(closing_pool(work))
    total = reports.month(desk.tenant.pk, DAY).total

    assert (total.calls, total.unpriced_calls, total.unpriced_micros) == (2, 1, 10 * 15 + 20 * 75)
    assert total.cost_micros == total.unpriced_micros + 10 + 100
    assert verification.verify().findings == []


GOOD: dict[str, Any] = {
    "effective_from": DAY,
    "source": "Contract",
    "markup_percent": "12.5",
    "prices": [
        {
            "model": "m",
            "input": "1",
            "output": "2",
            "cache_write_5m": "0",
            "cache_write_1h": "0.000001",
            "cache_read": "0.1",
        }
    ],
}


@pytest.mark.parametrize(
    "wrong",
    [
        {"effective_from": "2026-07-15"},
        {"effective_from": None},
        {"source": " "},
        {"source": 7},
        {"markup_percent": "-100.01"},
        {"markup_percent": "0.001"},
        {"markup_percent": "NaN"},
        {"markup_percent": 1.5},
        {"markup_percent": True},
        {"markup_percent": "10001"},
        {"prices": {"model": "m"}},
        {"prices": [{"model": "m", "input": "1"}]},
        {"prices": [{**GOOD["prices"][0], "model": ""}]},
        {"prices": [{**GOOD["prices"][0], "output": "-1"}]},
        {"prices": [{**GOOD["prices"][0], "output": "0.0000001"}]},
        {"prices": [{**GOOD["prices"][0], "output": "10001"}]},
        {"prices": [{**GOOD["prices"][0], "batch": "1"}]},
        {"prices": [GOOD["prices"][0], GOOD["prices"][0]]},
    ],
)
def test_terms_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    assert tariffs.terms(**GOOD).markup_basis_points == 1250

    with pytest.raises(InvalidRequest):
        tariffs.terms(**{**GOOD, **wrong})


@pytest.mark.parametrize("text", [b"\xff", b"x", b"else = 1", b'effective_from = 2026-07-15\nsource = "a"\nprice = 3'])
def test_a_tariff_that_is_none_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidRequest):
        tariffs.read(text)


def test_a_tariff_may_begin_with_the_month_and_not_before(prices: None) -> None:
    tenant = open_desk(timezone="Pacific/Kiritimati").tenant
    now = clock.now()
    early = tariffs.terms(**{**GOOD, "effective_from": date(2020, 1, 1)})

    with pytest.raises(InvalidRequest, match="cannot begin before"):
        tariffs.load(tenant, early, now=now)
    with pytest.raises(CommandError):
        call_command("load_tariff", "/nonexistent.toml", tenant="acme")

    assert tariffs.of_tenant(tenant.pk) == []
