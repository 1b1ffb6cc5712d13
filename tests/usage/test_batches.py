"""Batches and lanes: what one entry meets is not met by the others, and nobody who leaves leaves anything behind."""

import asyncio
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from kit import pg
from kit.batching import Lane
from kit.errors import BudgetExceeded, Unavailable
from tests.usage.desk import Desk, account, ask, events, look, open_desk, settled
from usage import ledger
from usage.ledger import unanswered

Flushed = list[list[int]]


def a_lane(
    flushed: Flushed, *, gate: asyncio.Event | None = None, **options: object
) -> tuple[Lane[int, int], list[int]]:
    left: list[int] = []

    async def flush(items: list[int]) -> list[int | Exception]:
        flushed.append(items)
        if gate is not None:
            await gate.wait()
        return [item * 10 for item in items]

    given = {"most_items": 3, "most_waiting": 5, **options}
    return Lane("test", flush, abandoned=lambda item, _: left.append(item), **given), left  # type: ignore[arg-type]  # options are the lane's


async def until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not what():  # noqa: ASYNC110 - what is waited for is a fact in the database or another task's
            await asyncio.sleep(0.01)


async def test_what_arrives_together_goes_together_and_in_order() -> None:
    flushed: Flushed = []
    lane, _ = a_lane(flushed)

    results = await asyncio.gather(*(lane.submit(n, within=1) for n in range(5)))

    assert results == [0, 10, 20, 30, 40]
    assert flushed == [[0, 1, 2], [3, 4]]


async def test_an_idle_lane_flushes_at_once() -> None:
    flushed: Flushed = []
    lane, _ = a_lane(flushed)

    assert await lane.submit(1, within=1) == 10
    assert await lane.submit(2, within=1) == 20

    assert flushed == [[1], [2]]


async def test_a_full_queue_refuses_at_once_and_keeps_what_waits() -> None:
    flushed: Flushed = []
    gate = asyncio.Event()
    lane, _ = a_lane(flushed, gate=gate)
    first = asyncio.create_task(lane.submit(0, within=5))
    await until(lambda: flushed == [[0]])
    waiting = [asyncio.create_task(lane.submit(n, within=5)) for n in range(1, 6)]
    await until(lambda: lane.waiting == 5)

    with pytest.raises(Unavailable):
        await lane.submit(6, within=5)

    gate.set()
    assert await asyncio.gather(first, *waiting) == [0, 10, 20, 30, 40, 50]


async def test_who_waits_too_long_is_told_and_takes_no_place() -> None:
    flushed: Flushed = []
    gate = asyncio.Event()
    lane, left = a_lane(flushed, gate=gate)

    with pytest.raises(Unavailable):
        await asyncio.gather(lane.submit(1, within=0.05), lane.submit(2, within=0.05))
    with pytest.raises(Unavailable):
        await lane.submit(3, within=0.05)

    assert (flushed, lane.waiting) == ([[1, 2]], 0)
    gate.set()
    await until(lambda: left == [1, 2])


async def test_a_cancelled_caller_is_not_flushed_when_it_was_still_waiting() -> None:
    flushed: Flushed = []
    gate = asyncio.Event()
    lane, left = a_lane(flushed, gate=gate)
    first, second = asyncio.create_task(lane.submit(1, within=5)), asyncio.create_task(lane.submit(2, within=5))
    await until(lambda: flushed == [[1, 2]])
    third = asyncio.create_task(lane.submit(3, within=5))
    await asyncio.sleep(0)

    third.cancel()
    first.cancel()
    await asyncio.wait({first, third})
    gate.set()

    assert await second == 20
    assert (flushed, left, lane.waiting) == ([[1, 2]], [1], 0)


async def test_what_is_put_is_flushed_whoever_waits_for_it() -> None:
    flushed: Flushed = []
    lane, left = a_lane(flushed)

    given_up, awaited = lane.put(1, within=5), lane.put(2, within=5)
    given_up.cancel()

    assert await awaited == 20
    assert (flushed, left, lane.waiting) == ([[1, 2]], [1], 0)


async def test_each_item_has_its_own_deadline() -> None:
    flushed: Flushed = []
    gate = asyncio.Event()
    lane, _ = a_lane(flushed, gate=gate)
    patient, hasty = lane.put(1, within=60), lane.put(2, within=0.02)
    await until(lambda: flushed == [[1, 2]])
    waiting = [lane.put(3, within=60), lane.put(4, within=0.02)]

    outcomes = await asyncio.gather(hasty, waiting[1], return_exceptions=True)

    assert [isinstance(one, Unavailable) and one.may_be_done for one in outcomes] == [True, False]
    assert [type(outcome) for outcome in outcomes] == [Unavailable, Unavailable]
    assert lane.waiting == 1
    gate.set()
    assert (await patient, await waiting[0]) == (10, 30)
    assert flushed == [[1, 2], [3]]


async def test_a_caller_cancelled_between_the_answer_and_its_reading_leaves_it() -> None:
    left: list[int] = []
    callers: list[asyncio.Task[int]] = []

    async def flush(items: list[int]) -> list[int | Exception]:
        # Comes after this step, in which the answer is set, and before the caller's next one.
        asyncio.get_running_loop().call_soon(callers[0].cancel)
        return [item * 10 for item in items]

    lane: Lane[int, int] = Lane(
        "test", flush, abandoned=lambda item, _: left.append(item), most_items=3, most_waiting=5
    )
    callers.append(asyncio.create_task(lane.submit(1, within=5)))

    with pytest.raises(asyncio.CancelledError):
        await callers[0]

    assert left == [1]


async def test_a_stuck_flush_does_not_hold_up_the_lane_for_ever() -> None:
    flushed: Flushed = []
    gate = asyncio.Event()
    gates = iter([gate])

    async def flush(items: list[int]) -> list[int | Exception]:
        flushed.append(items)
        if (own := next(gates, None)) is not None:
            await own.wait()
        return [item * 10 for item in items]

    lane: Lane[int, int] = Lane("test", flush, abandoned=lambda *_: None, most_items=3, most_waiting=5, patience=0.05)
    stuck = asyncio.create_task(lane.submit(1, within=5))
    await until(lambda: flushed == [[1]])

    assert await lane.submit(2, within=5) == 20

    gate.set()
    assert await stuck == 10


async def test_a_failing_flush_tells_all_of_its_batch_and_the_lane_goes_on() -> None:
    faults = iter([ValueError("no")])

    async def flush(items: list[int]) -> list[int | Exception]:
        for fault in faults:
            raise fault
        return [item * 10 for item in items]

    lane: Lane[int, int] = Lane("test", flush, abandoned=lambda *_: None, most_items=3, most_waiting=5)

    outcomes = await asyncio.gather(*(lane.submit(n, within=1) for n in (1, 2)), return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [ValueError, ValueError]
    assert await lane.submit(3, within=1) == 30


async def test_a_refusal_refuses_only_its_call(prices: None) -> None:
    desk = open_desk(tokens=100)
    sizes = [30, 90, 30, 80, 30, 50, 10]

    outcomes = await asyncio.gather(*(desk.reserve(size) for size in sizes), return_exceptions=True)

    admitted = [size for size, outcome in zip(sizes, outcomes, strict=True) if isinstance(outcome, ledger.Reservation)]
    refused = [size for size, outcome in zip(sizes, outcomes, strict=True) if isinstance(outcome, BudgetExceeded)]
    assert (admitted, refused) == ([30, 30, 30, 10], [90, 80, 50])
    assert account(desk)["reserved_tokens"] == 100
    assert [event["number"] for event in events(desk)] == [1, 2, 3, 4]


@pytest.mark.parametrize("foreign", [{"request_id": "half a pair: \ud800"}, {"micros": 10**30}])
async def test_what_postgres_cannot_hold_is_refused_alone(foreign: dict[str, Any], desk: Desk) -> None:
    outcomes = await asyncio.gather(
        desk.reserve(10), desk.reserve(10, **foreign), desk.reserve(10), return_exceptions=True
    )

    assert isinstance(outcomes[1], psycopg.DataError)
    assert [isinstance(outcome, ledger.Reservation) for outcome in outcomes] == [True, False, True]
    assert [event["number"] for event in events(desk)] == [1, 2]


async def test_calls_of_several_tenants_in_one_batch_are_each_its_own(prices: None) -> None:
    desks = [open_desk(f"tenant-{n}", tokens=100) for n in range(9)]

    outcomes = await asyncio.gather(
        *(desk.reserve(size) for size in (70, 60) for desk in desks), return_exceptions=True
    )

    assert [type(outcome) for outcome in outcomes] == [ledger.Reservation] * 9 + [BudgetExceeded] * 9
    assert {account(desk)["reserved_tokens"] for desk in desks} == {70}


async def test_settles_and_reserves_of_one_batch_are_one_transaction(prices: None) -> None:
    desk = open_desk(tokens=100)
    first = await desk.reserve(100)

    _, second = await asyncio.gather(ledger.settle(first, settled(10)), desk.reserve(90))

    assert isinstance(second, ledger.Reservation)
    stamps = look("SELECT DISTINCT xmin::text FROM usage_event WHERE tenant_id = %s", [desk.tenant.pk])
    assert len(stamps) == 1


async def test_callers_that_go_away_leave_nothing_reserved(desk: Desk) -> None:
    for pause in (0, 0, 0.001, 0.002, 0.005, 0.01, 0.02):
        calls = [asyncio.create_task(desk.reserve(10)) for _ in range(20)]
        await asyncio.sleep(pause)
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)
        for call in calls:
            if not call.cancelled():
                await ledger.settle(call.result(), ledger.Closing("released"))
    await until(lambda: unanswered.count() == 0)
    await asyncio.sleep(0.2)
    await ledger.drain()

    assert account(desk)["reserved_tokens"] == 0
    assert {event["state"] for event in events(desk)} <= {"released"}


async def test_a_locked_tenant_does_not_hold_up_the_others_of_its_batch(prices: None) -> None:
    locked, free = open_desk("locked"), open_desk("free")
    while (locked.tenant.pk - free.tenant.pk) % 4:
        free = open_desk(f"free-{free.tenant.pk}")
    async with pg.connection() as connection, connection.transaction():
        await connection.execute("SELECT 1 FROM usage_tenanttally WHERE tenant_id = %s FOR UPDATE", (locked.tenant.pk,))
        outcomes = await asyncio.gather(locked.reserve(10), free.reserve(10), return_exceptions=True)

    assert isinstance(outcomes[0], Unavailable)
    assert isinstance(outcomes[1], ledger.Reservation)
    assert events(locked) == []


async def test_a_call_that_waits_for_its_tenant_is_of_the_time_when_the_wait_is_over(desk: Desk) -> None:
    await desk.reserve(10)
    async with pg.connection() as holder, holder.transaction():
        await holder.execute("SELECT 1 FROM usage_tenanttally WHERE tenant_id = %s FOR UPDATE", (desk.tenant.pk,))
        call = asyncio.create_task(desk.reserve(10))
        await _backend_waiting_for_a_lock()
        (now,) = await pg.fetch_all("SELECT clock_timestamp() AS is_now")

    assert (await call).opened_at >= now["is_now"]


async def test_a_reservation_whose_answer_was_lost_is_released(desk: Desk) -> None:
    """The statement commits, the connection goes before the answer: the caller has 503, the event is open."""
    admission = ask(100)
    async with pg.connection() as holder, holder.transaction():
        await holder.execute("SELECT 1 FROM usage_tenanttally WHERE tenant_id = %s FOR UPDATE", (desk.tenant.pk,))
        call = asyncio.create_task(ledger.reserve(desk.caller, admission))
        victim = await _backend_waiting_for_a_lock()
        await holder.execute("SELECT pg_terminate_backend(%s)", (victim,))
        with pytest.raises(Unavailable):
            await call
    assert unanswered.count() == 1
    # What the lost backend might have done before it went: the same reservation, committed.
    await ledger.reserve(desk.caller, admission)
    assert account(desk)["reserved_tokens"] == 100

    await until(lambda: account(desk)["reserved_tokens"] == 0)

    assert [event["state"] for event in events(desk)] == ["released"]
    await until(lambda: unanswered.count() == 0)


async def test_an_unanswered_reservation_that_was_swept_is_released_all_the_same(desk: Desk) -> None:
    reservation = await desk.reserve(100)
    look("UPDATE usage_event SET lease_until = now() - interval '1 minute' RETURNING id")
    await ledger.sweep()

    unanswered.release([reservation.event_id])
    await ledger.drain()

    assert account(desk)["settled_tokens"] == 0
    assert [event["state"] for event in events(desk)] == ["released"]


async def test_more_unanswered_reservations_than_there_is_room_for_are_left(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unanswered, "_MOST", 2)
    reservations = [await desk.reserve(10) for _ in range(3)]

    unanswered.release([one.event_id for one in reservations])
    await ledger.drain()

    assert sorted(event["state"] for event in events(desk)) == ["open", "released", "released"]


async def _backend_waiting_for_a_lock() -> int:
    async with asyncio.timeout(5):
        while True:
            row = await pg.fetch_one(
                "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%%usage_apply%%'"
                " AND datname = current_database()"
            )
            if row is not None:
                return int(row["pid"])
            await asyncio.sleep(0.01)
