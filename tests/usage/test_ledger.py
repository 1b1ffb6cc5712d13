"""Reserve, settle, heartbeat, sweep: each as a sentence."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest

from kit import clock, ids
from kit.errors import AuthenticationFailed, BudgetExceeded
from tenants import keys, tenants
from tests.factories import make_key, outside_of_the_loop
from tests.usage.desk import Desk, account, ask, caller_of, do, events, lapse, look, open_desk, settled
from usage import ledger
from usage.ledger import Closing
from usage.pricing import Tokens

NOTHING = {"reserved_tokens": 0, "settled_tokens": 0, "reserved_micros": 0, "settled_micros": 0}


async def test_reserve_holds_the_bound_on_tenant_and_key(desk: Desk) -> None:
    reservation = await desk.reserve(100)

    held = {"reserved_tokens": 100, "settled_tokens": 0, "reserved_micros": 500, "settled_micros": 0}
    assert account(desk) == held
    assert account(desk, owner="key") == held
    (event,) = events(desk)
    assert (event["id"], event["state"], event["number"]) == (reservation.event_id, "open", 1)
    assert (event["reserved_tokens"], event["reserved_output_tokens"], event["reserved_micros"]) == (100, 50, 500)
    assert 59 < (event["lease_until"] - event["opened_at"]).total_seconds() < 61


async def test_settle_books_what_was_used_and_frees_the_rest(desk: Desk) -> None:
    reservation = await desk.reserve(100)
    tokens = Tokens(input=1, output=2, cache_write_5m=3, cache_write_1h=4, cache_read=5)

    state = await ledger.settle(reservation, Closing("settled", tokens, cost_micros=77, stop_reason="end_turn"))

    assert state == "settled"
    booked = {"reserved_tokens": 0, "settled_tokens": 15, "reserved_micros": 0, "settled_micros": 77}
    assert account(desk) == booked
    assert account(desk, owner="key") == booked
    (event,) = events(desk)
    classes = ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read")
    assert [event[f"{name}_tokens"] for name in classes] == [1, 2, 3, 4, 5]
    assert (event["charged_tokens"], event["cost_micros"], event["stop_reason"]) == (15, 77, "end_turn")


async def test_settle_twice_changes_nothing(desk: Desk) -> None:
    reservation = await desk.reserve(100)
    await ledger.settle(reservation, settled(30))

    state = await ledger.settle(reservation, settled(99))

    assert state == "settled"
    assert account(desk)["settled_tokens"] == 30
    assert events(desk)[0]["input_tokens"] == 30


async def test_released_costs_nothing(desk: Desk) -> None:
    reservation = await desk.reserve(100)

    assert await ledger.settle(reservation, Closing("released", error_type="overloaded_error")) == "released"

    assert account(desk) == NOTHING
    assert await ledger.settle(reservation, settled(5)) == "released"
    assert account(desk) == NOTHING


async def test_more_than_reserved_is_recorded_and_the_next_call_refused(prices: None) -> None:
    desk = open_desk(tokens=1000)
    before = [ledger.verbs.OVERRUN.labels(unit)._value.get() for unit in ("tokens", "micros")]
    reservation = await desk.reserve(100)

    await ledger.settle(reservation, settled(1500))

    assert account(desk)["settled_tokens"] == 1500
    after = [ledger.verbs.OVERRUN.labels(unit)._value.get() for unit in ("tokens", "micros")]
    assert [now - then for now, then in zip(after, before, strict=True)] == [1, 1]
    with pytest.raises(BudgetExceeded):
        await desk.reserve(1)
    assert len(events(desk)) == 1


async def test_sweep_closes_a_lapsed_event_at_its_whole_reservation(desk: Desk) -> None:
    await desk.reserve(100)
    lapse(desk)
    alive = await desk.reserve(40)

    assert await ledger.sweep() == 1

    swept, open_event = events(desk)
    assert (swept["state"], swept["charged_tokens"], swept["cost_micros"]) == ("estimated", 100, 500)
    assert (swept["input_tokens"], swept["output_tokens"], swept["error_type"]) == (50, 50, "lease_lapsed")
    assert (open_event["id"], open_event["state"]) == (alive.event_id, "open")
    assert account(desk) == {
        "reserved_tokens": 40,
        "settled_tokens": 100,
        "reserved_micros": 200,
        "settled_micros": 500,
    }


async def test_late_settle_corrects_an_estimate_by_the_difference(desk: Desk) -> None:
    reservation = await desk.reserve(100)
    lapse(desk)
    await ledger.sweep()

    assert await ledger.settle(reservation, settled(30)) == "settled"

    assert account(desk) == {**NOTHING, "settled_tokens": 30, "settled_micros": 30}
    assert events(desk)[0]["state"] == "settled"


async def test_an_estimate_is_not_replaced_by_another_estimate(desk: Desk) -> None:
    reservation = await desk.reserve(100)
    lapse(desk)
    await ledger.sweep()

    assert await ledger.settle(reservation, Closing("estimated", Tokens(input=1), cost_micros=1)) == "estimated"

    assert account(desk)["settled_tokens"] == 100


async def test_heartbeat_renews_the_lease_so_that_the_sweep_passes_by(desk: Desk) -> None:
    reservation = await desk.reserve(100)
    lapse(desk)

    verdicts = await ledger.heartbeat([(reservation.event_id, reservation.month)])

    assert verdicts == {reservation.event_id: "go_on"}
    assert await ledger.sweep() == 0
    assert events(desk)[0]["state"] == "open"


async def test_heartbeat_tells_what_must_end(desk: Desk) -> None:
    other = make_key(desk.tenant).key
    revoked, closed = await desk.reserve(10, caller=caller_of(other)), await desk.reserve(10)
    await ledger.settle(closed, settled(1))
    outside_of_the_loop(lambda: keys.revoke(other, reason="test", now=clock.now()))
    unknown = ids.uuid7()

    verdicts = await ledger.heartbeat((one, revoked.month) for one in (revoked.event_id, closed.event_id, unknown))

    assert verdicts == {revoked.event_id: "inactive", closed.event_id: "closed", unknown: "closed"}


async def test_heartbeat_of_a_suspended_tenant_says_inactive(desk: Desk) -> None:
    reservation = await desk.reserve(10)
    outside_of_the_loop(lambda: tenants.suspend(desk.tenant, reason="test", now=clock.now()))

    verdicts = await ledger.heartbeat([(reservation.event_id, reservation.month)])

    assert verdicts == {reservation.event_id: "inactive"}


@pytest.mark.parametrize("how", ["revoked", "expired", "suspended", "of another tenant", "of another family"])
async def test_reserve_refuses_who_is_not_active(desk: Desk, how: str) -> None:
    caller = desk.caller
    if how == "revoked":
        outside_of_the_loop(lambda: keys.revoke(desk.key, reason="test", now=clock.now()))
    elif how == "expired":
        do("UPDATE tenants_apikey SET expires_at = now() - interval '1 second' WHERE id = %s", [desk.key.pk])
    elif how == "suspended":
        outside_of_the_loop(lambda: tenants.suspend(desk.tenant, reason="test", now=clock.now()))
    elif how == "of another tenant":
        caller = replace(caller, tenant_id=open_desk("other").tenant.pk)
    else:
        caller = replace(caller, family_id=make_key(desk.tenant).key.pk)

    with pytest.raises(AuthenticationFailed):
        await desk.reserve(10, caller=caller)

    assert look("SELECT id FROM usage_event") == []
    assert look("SELECT id FROM usage_budgetaccount") == []


@pytest.mark.parametrize("owner", ["tenant", "key"])
async def test_reserve_refuses_without_a_monthly_budget(desk: Desk, owner: str) -> None:
    which = "IS NULL" if owner == "tenant" else "IS NOT NULL"
    do(f"DELETE FROM tenants_budget WHERE key_id {which}")

    with pytest.raises(BudgetExceeded) as refused:
        await desk.reserve(10)

    assert refused.value.details["reason"] == "no_budget"
    assert events(desk) == []


async def test_successors_draw_on_the_budget_of_their_family(prices: None) -> None:
    desk = open_desk(key_tokens=100)
    successor = outside_of_the_loop(lambda: keys.rotate(desk.key, overlap=timedelta(hours=1), now=clock.now())).key
    await desk.reserve(60)

    with pytest.raises(BudgetExceeded) as refused:
        await desk.reserve(60, caller=caller_of(successor))

    assert refused.value.details["owner"] == "key"
    assert (await desk.reserve(40, caller=caller_of(successor))).number == 2


async def test_a_suspected_duplicate_is_refused_alone(desk: Desk) -> None:
    """The same event id twice in one batch: the fault of one entry is not that of the others."""
    twice, other = ask(10), ask(10)

    outcomes = await asyncio.gather(
        *(ledger.reserve(desk.caller, one) for one in (twice, twice, other)), return_exceptions=True
    )

    failed = [one for one in outcomes if isinstance(one, psycopg.errors.UniqueViolation)]
    assert len(failed) == 1
    assert [event["number"] for event in events(desk)] == [1, 2]
    assert account(desk)["reserved_tokens"] == 20


async def test_a_lease_that_was_renewed_after_the_sweep_had_looked_is_respected(desk: Desk) -> None:
    reservation = await desk.reserve(100)

    rows = look(
        "SELECT outcome, state FROM usage_close(ARRAY[(1, %s, %s, %s, 'estimated', 100, 0, 0, 0, 0, 0, '', 'lease_lapsed', '', '',"
        " NULL, NULL, true)::usage_closing])",
        [reservation.event_id, reservation.month, desk.tenant.pk],
    )

    assert rows == [{"outcome": "kept", "state": "open"}]
    assert account(desk)["reserved_tokens"] == 100
