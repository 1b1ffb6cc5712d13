"""A crowd in one process and against others: one leads, the rest are handed what it shares, and nobody is left waiting."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from kit import redis as kit_redis
from skills import caching
from skills.caching import Alone, Entry, Found, Key, Lead, Seat, crowds, store

TTL = 60


def entry(output: str = "An answer.") -> Entry:
    return Entry(output=output, stop_reason="end_turn", model="claude-sonnet-5", route_kind="fixed", route_reason="")


@pytest.fixture
def key() -> Key:
    """A key of the test's own."""
    return Key(tenant_id=uuid4().int % 10**12, skill="echo", digest=uuid4().hex)


async def enter(key: Key) -> Any:
    return await caching.enter(key, ttl_seconds=TTL)


async def outcome(seat: Seat) -> Any:
    return await asyncio.wait_for(asyncio.shield(seat.outcome), 15)


async def gone(key: Key) -> None:
    async with asyncio.timeout(5):
        while key in crowds._crowds[asyncio.get_running_loop()]:  # noqa: ASYNC110 - nobody is told of this
            await asyncio.sleep(0.01)


async def test_the_first_leads_and_the_others_are_handed_what_it_shares(key: Key) -> None:
    lead, seats = await enter(key), [await enter(key) for _ in range(3)]
    assert isinstance(lead, Lead)
    assert all(isinstance(seat, Seat) for seat in seats)

    await lead.share(entry())

    assert [(await outcome(seat)).entry for seat in seats] == [entry()] * 3
    later = await enter(key)
    assert isinstance(later, Found)
    assert (later.entry, later.was_waited_for) == (entry(), False)


async def test_those_who_come_while_the_look_is_under_way_share_it(key: Key) -> None:
    places = await asyncio.gather(*(enter(key) for _ in range(50)))

    leads = [place for place in places if isinstance(place, Lead)]
    assert len(leads) == 1
    await leads[0].share(entry())
    found = [await outcome(place) for place in places if isinstance(place, Seat)]
    assert [one.entry for one in found] == [entry()] * 49


async def test_a_lead_that_came_to_nothing_goes_to_the_next_and_after_two_everybody_calls_alone(key: Key) -> None:
    lead, *seats = [await enter(key) for _ in range(4)]

    lead.leave()
    second = await outcome(seats[0])
    assert isinstance(second, Lead)
    assert not seats[1].outcome.done()
    second.leave()

    assert [type(await outcome(seat)) for seat in seats[1:]] == [Alone, Alone]
    assert isinstance(await enter(key), Lead)


async def test_a_lead_that_was_declined_says_nothing_of_the_next_ones_call(key: Key) -> None:
    lead, *seats = [await enter(key) for _ in range(5)]

    for seat in seats[:3]:
        lead.decline()
        lead = await outcome(seat)
        assert isinstance(lead, Lead)
    await lead.share(entry())

    assert (await outcome(seats[3])).entry == entry()


async def test_a_seat_that_was_left_is_passed_over(key: Key) -> None:
    lead, left, waiting = [await enter(key) for _ in range(3)]

    left.leave()
    lead.leave()

    assert isinstance(await outcome(waiting), Lead)


async def test_a_lead_handed_to_a_seat_that_is_left_goes_on_to_the_next(key: Key) -> None:
    lead, leaving, waiting = [await enter(key) for _ in range(3)]
    lead.leave()
    await outcome(leaving)

    leaving.leave()

    assert isinstance(await outcome(waiting), Lead)


async def test_another_process_that_leads_is_waited_for(key: Key) -> None:
    await store.seek(key, owner="another process")
    seat = await enter(key)
    assert isinstance(seat, Seat)

    packed = entry("From elsewhere.").pack()
    assert packed is not None
    assert await store.keep(key, packed, owner="another process", ttl_seconds=TTL)

    found = await outcome(seat)
    assert (found.entry.output, found.was_waited_for) == ("From elsewhere.", True)


async def test_the_lead_of_a_process_that_died_is_taken_over_when_it_lapses(key: Key) -> None:
    await store.seek(key, owner="a process that dies")
    first, second = await enter(key), await enter(key)
    began = asyncio.get_running_loop().time()

    lead = await outcome(first)

    assert isinstance(lead, Lead)
    assert asyncio.get_running_loop().time() - began > store.LEASE_SECONDS / 2
    await lead.share(entry())
    assert (await outcome(second)).entry == entry()


async def test_a_lead_that_lives_is_renewed(key: Key) -> None:
    lead = await enter(key)
    assert isinstance(lead, Lead)

    await asyncio.sleep(store.LEASE_SECONDS * 1.2)

    assert (await store.seek(key, owner="another process")).verdict == "waits"
    lead.leave()


async def test_without_redis_the_crowd_is_that_of_this_process(key: Key, settings: Any) -> None:
    settings.REDIS_URL = "unix:///nowhere/redis.sock"
    lead, seat = await enter(key), await enter(key)
    assert isinstance(lead, Lead)

    await lead.share(entry())

    assert (await outcome(seat)).entry == entry()
    again = await enter(key)
    assert isinstance(again, Lead)  # nothing was kept
    again.leave()


async def test_an_answer_too_large_to_keep_is_handed_over_all_the_same(key: Key) -> None:
    large = entry("".join(uuid4().hex for _ in range(20_000)))
    lead, seat = await enter(key), await enter(key)

    await lead.share(large)

    assert (await outcome(seat)).entry == large
    assert isinstance(await enter(key), Lead)


async def test_what_a_purge_finds_under_way_is_not_kept(key: Key) -> None:
    lead = await enter(key)

    assert await asyncio.to_thread(caching.purge, key.tenant_id, skill="echo") == 0
    await lead.share(entry())
    await gone(key)

    assert isinstance(await enter(key), Lead)


async def test_a_tenant_keeps_only_so_many_answers(key: Key, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MOST_ENTRIES", 3)
    keys = [Key(key.tenant_id, "echo", f"{number}") for number in range(5)]

    for seconds, one in enumerate(keys, start=100):
        lead = await caching.enter(one, ttl_seconds=seconds)
        assert isinstance(lead, Lead)
        await lead.share(entry())

    kept = [isinstance(await enter(one), Found) for one in keys]
    assert kept == [False, False, True, True, True]


async def test_what_somebody_else_wrote_under_the_key_is_no_answer(key: Key) -> None:
    await kit_redis.client().set(store._names(key)[0], b"\x00 nonsense", ex=60)

    lead = await enter(key)

    assert isinstance(lead, Lead)
    lead.leave()


async def test_nothing_is_left_of_a_crowd_that_is_gone(key: Key) -> None:
    lead, seat = await enter(key), await enter(key)
    await lead.share(entry())
    await outcome(seat)

    await gone(key)

    assert await kit_redis.client().exists(*store._names(key)[1:3]) == 0
