"""Redis down, stalled, flushed, full, read-only, loading: never unlimited, never a 500, never slow twice."""

import asyncio
import time

import pytest
from prometheus_client import REGISTRY
from pytest_django import Settings

from kit.errors import RateLimited
from tenants import limits
from tenants.keys import Caller
from tests.tenants.callers import a_caller
from tests.tenants.valkey import Valkey


async def admitted_of(caller: Caller, *, calls: int) -> list[limits.Decision]:
    outcomes = await asyncio.gather(
        *(limits.take(caller, tokens=1, call_id=f"{caller.family_id}-{n}-{time.monotonic()}") for n in range(calls)),
        return_exceptions=True,
    )
    assert all(isinstance(outcome, limits.Decision | RateLimited) for outcome in outcomes)
    return [outcome for outcome in outcomes if isinstance(outcome, limits.Decision)]


async def timed_take(caller: Caller, call_id: str) -> tuple[float, limits.Decision]:
    started = time.monotonic()
    made = await limits.take(caller, tokens=1, call_id=call_id)
    return time.monotonic() - started, made


async def source_when_back(caller: Caller) -> str:
    for attempt in range(80):
        made = await limits.take(caller, tokens=0, call_id=f"back-{attempt}")
        await limits.cancel(caller, call_id=f"back-{attempt}")
        if made.source == "shared":
            return made.source
        await asyncio.sleep(0.1)
    return "local"


def local_count() -> float:
    return REGISTRY.get_sample_value("skillgate_limits_local_total") or 0.0


async def test_a_dead_redis_leaves_this_processs_share_and_says_so(own_valkey: Valkey, settings: Settings) -> None:
    settings.PROCESS_COUNT = 4
    caller = a_caller(requests_per_minute=40)
    before = local_count()
    own_valkey.kill()

    admitted = await admitted_of(caller, calls=100)

    assert len(admitted) == 10
    assert {made.source for made in admitted} == {"local"}
    assert admitted[0].headers()["x-skillgate-limits"] == "local"
    assert local_count() - before == 100


async def test_a_stalled_redis_costs_a_moment_once_and_then_nothing(own_valkey: Valkey) -> None:
    caller = a_caller(requests_per_minute=1000, concurrent_calls=1000)
    await limits.take(caller, tokens=1, call_id="warm")
    own_valkey.stall()

    started = time.monotonic()
    admitted = await admitted_of(caller, calls=200)
    together = time.monotonic() - started
    alone, made = await timed_take(caller, "alone")
    own_valkey.go_on()

    assert len(admitted) == 200
    assert together < 2.0  # one wait of 0.1 s for all; each on its own would be 20 s
    assert alone < 0.09  # it did not wait
    assert made.source == "local"
    assert await source_when_back(caller) == "shared"


async def test_a_stalled_redis_adds_at_most_a_tenth_and_a_half_to_a_call(own_valkey: Valkey) -> None:
    caller = a_caller()
    await limits.take(caller, tokens=1, call_id="warm")
    own_valkey.stall()

    seconds, made = await timed_take(caller, "a")
    own_valkey.go_on()

    assert 0.09 < seconds < 0.5  # 0.15 on a machine of its own; the client's own retries would be 4 s
    assert made.source == "local"


async def test_a_flushed_redis_counts_on_and_renewal_brings_running_calls_back(own_valkey: Valkey) -> None:
    caller = a_caller(concurrent_calls=1, tokens_per_minute=6000)
    await limits.take(caller, tokens=5000, call_id="running")
    own_valkey.command("FLUSHALL")
    own_valkey.command("SCRIPT", "FLUSH")

    await limits.renew([(caller.family_id, "running")])

    with pytest.raises(RateLimited) as raised:
        await limits.take(caller, tokens=1, call_id="next")
    assert raised.value.details["reason"] == "concurrent_calls"
    assert raised.value.details["source"] == "shared"
    await limits.refund(caller, tokens=5000, call_id="running")
    after = await limits.take(caller, tokens=6000, call_id="next")
    assert after.tokens.remaining == 0  # what the lost state had charged was not given to the new one


async def test_a_full_redis_is_no_redis(own_valkey: Valkey) -> None:
    caller = a_caller(requests_per_minute=5)
    own_valkey.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
    own_valkey.command("CONFIG", "SET", "maxmemory", "1")

    admitted = await admitted_of(caller, calls=20)
    own_valkey.command("CONFIG", "SET", "maxmemory", "0")

    assert len(admitted) == 5
    assert {made.source for made in admitted} == {"local"}
    assert await source_when_back(a_caller()) == "shared"


async def test_a_read_only_redis_is_no_redis(own_valkey: Valkey) -> None:
    caller = a_caller(requests_per_minute=5)
    own_valkey.command("REPLICAOF", "127.0.0.1", "1")

    admitted = await admitted_of(caller, calls=20)
    own_valkey.command("REPLICAOF", "NO", "ONE")

    assert len(admitted) == 5
    assert {made.source for made in admitted} == {"local"}
    assert await source_when_back(a_caller()) == "shared"


async def test_a_restarted_redis_is_used_again_and_learns_of_running_calls(own_valkey: Valkey) -> None:
    caller = a_caller(concurrent_calls=2)
    await limits.take(caller, tokens=1, call_id="before")
    own_valkey.kill()
    taken = [await timed_take(caller, f"while down {n}") for n in range(2)]
    own_valkey.start()

    assert await source_when_back(a_caller()) == "shared"
    await limits.renew([(caller.family_id, "before"), (caller.family_id, "while down 0")])

    with pytest.raises(RateLimited) as raised:
        await limits.take(caller, tokens=1, call_id="after")
    assert {made.source for _, made in taken} == {"local"}
    assert (raised.value.details["source"], raised.value.details["used"]) == ("shared", 2)


async def test_while_redis_is_away_a_call_over_the_share_is_told_to_try_later(
    own_valkey: Valkey, settings: Settings
) -> None:
    settings.PROCESS_COUNT = 4
    caller = a_caller(tokens_per_minute=4000)
    own_valkey.kill()

    with pytest.raises(RateLimited) as raised:
        await limits.take(caller, tokens=2000, call_id="a")

    assert raised.value.details["never"] is False
    assert raised.value.details["would_pass"] == {"largest_tokens": 1000}
    assert int(raised.value.headers["Retry-After"]) >= 1
    assert (await limits.take(caller, tokens=1000, call_id="b")).source == "local"


async def test_calls_go_by_one_connection_and_by_another_when_redis_has_closed_it(own_valkey: Valkey) -> None:
    caller = a_caller(requests_per_minute=1000, concurrent_calls=1000)

    await admitted_of(caller, calls=20)
    await admitted_of(caller, calls=20)
    before = connections(own_valkey)
    own_valkey.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    await asyncio.sleep(0.05)
    after = await admitted_of(caller, calls=20)

    assert (before, connections(own_valkey)) == (1, 1)
    assert {made.source for made in after} == {"shared"}


def connections(valkey: Valkey) -> int:
    """How many connections are open beside the one that asks."""
    found = valkey.command("CLIENT", "LIST")
    assert isinstance(found, list | bytes)
    return len(found if isinstance(found, list) else found.splitlines()) - 1
