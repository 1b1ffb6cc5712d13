"""Limits counted in Redis: requests, tokens and concurrency in one decision."""

import asyncio
import math
import re
import time
from typing import Any

import pytest

from kit.errors import RateLimited
from tenants import limits
from tenants.keys import Caller
from tests.tenants.callers import a_caller
from tests.tenants.valkey import Valkey


async def refused(caller: Caller, **call: Any) -> RateLimited:
    with pytest.raises(RateLimited) as raised:
        await limits.take(caller, **call)
    return raised.value


async def test_take_admits_a_whole_minute_at_once_and_then_refuses() -> None:
    caller = a_caller(requests_per_minute=3)

    decisions = [await limits.take(caller, tokens=1, call_id=f"c{n}") for n in range(3)]
    refusal = await refused(caller, tokens=1, call_id="c3")

    assert [made.requests.remaining for made in decisions] == [2, 1, 0]
    assert {made.source for made in decisions} == {"shared"}
    assert refusal.details["reason"] == "requests_per_minute"
    assert (refusal.details["limit"], refusal.details["used"]) == (3, 3)
    assert refusal.headers["Retry-After"] == "20"
    assert refusal.status == 429


async def test_a_refused_call_consumes_nothing(valkey: Valkey) -> None:
    caller = a_caller(tokens_per_minute=600, requests_per_minute=100)
    await limits.take(caller, tokens=590, call_id="a")
    before = valkey.command("DUMP", f"sg:lim:{{f:{caller.family_id}}}:requests")

    refusal = await refused(caller, tokens=100, call_id="b")

    assert refusal.details["reason"] == "tokens_per_minute"
    assert valkey.command("DUMP", f"sg:lim:{{f:{caller.family_id}}}:requests") == before
    assert valkey.command("ZCARD", f"sg:lim:{{f:{caller.family_id}}}:leases") == 1
    after = await limits.take(caller, tokens=5, call_id="c")
    assert after.requests.remaining == 98
    assert after.concurrent.remaining == 98


async def test_the_smaller_call_that_a_refusal_suggests_passes() -> None:
    for tokens_per_minute, used in ((6000, 5000), (7, 3), (99_991, 12_347), (10_000_000_000, 9_999_999_123)):
        caller = a_caller(tokens_per_minute=tokens_per_minute)
        await limits.take(caller, tokens=used, call_id="first")

        refusal = await refused(caller, tokens=tokens_per_minute, call_id="big")
        suggested = refusal.details["would_pass"]["tokens_now"]
        admitted = await limits.take(caller, tokens=suggested, call_id="smaller")

        assert suggested >= tokens_per_minute - used
        assert admitted.source == "shared"


async def test_the_wait_that_a_refusal_suggests_passes() -> None:
    caller = a_caller(tokens_per_minute=6000)
    await limits.take(caller, tokens=6000, call_id="first")

    refusal = await refused(caller, tokens=100, call_id="later")
    await asyncio.sleep(refusal.details["would_pass"]["after_seconds"])

    assert refusal.details["would_pass"]["after_seconds"] == refusal.details["retry_after"] == 1
    assert (await limits.take(caller, tokens=100, call_id="later")).source == "shared"


async def test_a_call_over_the_whole_allowance_is_told_so_and_the_largest_passes() -> None:
    caller = a_caller(tokens_per_minute=6000)

    refusal = await refused(caller, tokens=6001, call_id="a")

    assert refusal.details["never"] is True
    assert refusal.headers["x-should-retry"] == "false"
    assert int(refusal.headers["Retry-After"]) == 3600
    assert (
        await limits.take(caller, tokens=refusal.details["would_pass"]["largest_tokens"], call_id="b")
    ).tokens.remaining == 0


async def test_concurrent_calls_are_limited_and_a_released_place_is_free_again() -> None:
    caller = a_caller(concurrent_calls=2)
    await limits.take(caller, tokens=1, call_id="a")
    await limits.take(caller, tokens=1, call_id="b")

    refusal = await refused(caller, tokens=1, call_id="c")
    await limits.release(caller, call_id="a")

    assert refusal.details["reason"] == "concurrent_calls"
    assert (refusal.details["limit"], refusal.details["used"]) == (2, 2)
    assert (await limits.take(caller, tokens=1, call_id="c")).concurrent.remaining == 0


async def test_take_is_charged_once_for_a_call_id() -> None:
    caller = a_caller()

    first = await limits.take(caller, tokens=100, call_id="same")
    again = await limits.take(caller, tokens=100, call_id="same")

    assert first.requests.remaining == again.requests.remaining == 59
    assert again.concurrent.remaining == 99


async def test_refund_gives_unused_tokens_back_once_and_frees_the_place() -> None:
    caller = a_caller(tokens_per_minute=6000)
    await limits.take(caller, tokens=5000, call_id="a")
    await limits.take(caller, tokens=1000, call_id="b")

    await limits.refund(caller, tokens=3000, call_id="a")
    await limits.refund(caller, tokens=3000, call_id="a")
    after = await limits.take(caller, tokens=0, call_id="c")

    assert 3000 <= after.tokens.remaining < 3100
    assert after.requests.remaining == 57
    assert after.concurrent.remaining == 98


async def test_refund_never_gives_back_more_than_was_charged() -> None:
    caller = a_caller(tokens_per_minute=6000)
    await limits.take(caller, tokens=5000, call_id="a")
    await limits.take(caller, tokens=100, call_id="b")

    await limits.refund(caller, tokens=1_000_000, call_id="b")

    assert (await limits.take(caller, tokens=0, call_id="c")).tokens.remaining < 1100


async def test_cancel_leaves_no_trace_of_a_call() -> None:
    caller = a_caller()
    await limits.take(caller, tokens=5000, call_id="a")

    await limits.cancel(caller, call_id="a")
    after = await limits.take(caller, tokens=0, call_id="b")

    assert (after.tokens.remaining, after.requests.remaining, after.concurrent.remaining) == (6000, 59, 99)


async def test_a_cancelled_take_is_given_back(valkey: Valkey) -> None:
    caller = a_caller()
    await limits.take(caller, tokens=0, call_id="warm")
    valkey.stall()
    taking = asyncio.create_task(limits.take(caller, tokens=5000, call_id="a"))
    await asyncio.sleep(0.02)

    taking.cancel()
    valkey.go_on()
    await asyncio.gather(taking, return_exceptions=True)
    await asyncio.sleep(0.1)

    assert taking.cancelled()
    after = await limits.take(caller, tokens=0, call_id="b")
    assert (after.tokens.remaining, after.concurrent.remaining) == (6000, 98)


async def test_a_lease_ends_by_itself_and_renewal_keeps_it(valkey: Valkey) -> None:
    caller = a_caller(concurrent_calls=2)
    leases = f"sg:lim:{{f:{caller.family_id}}}:leases"
    for call_id in ("kept", "lost"):
        await limits.take(caller, tokens=1, call_id=call_id)
        valkey.command("ZADD", leases, str(int((time.time() - 1_760_000_000 + 0.05) * 1_000_000)), call_id)

    await limits.renew([(caller.family_id, "kept")])
    await asyncio.sleep(0.1)
    admitted = await limits.take(caller, tokens=1, call_id="new")

    assert admitted.concurrent.remaining == 0
    assert valkey.command("ZRANGE", leases, 0, -1) == [b"kept", b"new"]
    assert valkey.command("HKEYS", f"sg:lim:{{f:{caller.family_id}}}:charges") == [b"kept", b"new"]


async def test_a_late_heartbeat_does_not_revive_an_ended_call(valkey: Valkey) -> None:
    caller = a_caller()
    await limits.take(caller, tokens=1, call_id="a")
    await limits.refund(caller, tokens=0, call_id="a")

    await limits.renew([(caller.family_id, "a")])

    assert valkey.command("ZCARD", f"sg:lim:{{f:{caller.family_id}}}:leases") == 0


async def test_admitted_calls_never_exceed_burst_plus_rate_times_time() -> None:
    caller = a_caller(requests_per_minute=600, tokens_per_minute=10_000_000, concurrent_calls=100_000)
    started = time.monotonic()
    admitted = 0

    async def hammer(worker: int) -> None:
        nonlocal admitted
        attempt = 0
        while time.monotonic() - started < 1.5:
            attempt += 1
            try:
                made = await limits.take(caller, tokens=1, call_id=f"{worker}-{attempt}")
                assert made.source == "shared"
                admitted += 1
            except RateLimited:
                await asyncio.sleep(0.003)

    await asyncio.gather(*(hammer(worker) for worker in range(20)))
    elapsed = time.monotonic() - started

    assert 600 + 10 * 1.4 <= admitted <= 600 + 10 * elapsed


async def test_two_hundred_callers_at_once_are_all_decided_by_redis() -> None:
    caller = a_caller(requests_per_minute=150, concurrent_calls=1000)
    await limits.take(a_caller(), tokens=1, call_id="warm")

    outcomes = await asyncio.gather(
        *(limits.take(caller, tokens=1, call_id=str(n)) for n in range(200)), return_exceptions=True
    )

    admitted = [made for made in outcomes if isinstance(made, limits.Decision)]
    refusals = [refusal for refusal in outcomes if isinstance(refusal, RateLimited)]
    assert (len(admitted), len(refusals)) == (150, 50)
    assert {made.source for made in admitted} == {refusal.details["source"] for refusal in refusals} == {"shared"}


async def test_headers_speak_both_dialects() -> None:
    caller = a_caller(requests_per_minute=60, tokens_per_minute=6000)

    headers = (await limits.take(caller, tokens=1500, call_id="a")).headers()

    assert headers["anthropic-ratelimit-requests-limit"] == "60"
    assert headers["anthropic-ratelimit-requests-remaining"] == "59"
    assert headers["anthropic-ratelimit-tokens-limit"] == "6000"
    assert headers["anthropic-ratelimit-tokens-remaining"] == "4500"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", headers["anthropic-ratelimit-tokens-reset"])
    assert headers["RateLimit"].startswith('"requests";r=59;t=1, "tokens";r=4500;t=15')
    assert '"tokens";q=6000;w=60' in headers["RateLimit-Policy"]
    assert "x-skillgate-limits" not in headers


async def test_a_script_that_redis_forgot_is_loaded_again(valkey: Valkey) -> None:
    caller = a_caller()
    await limits.take(caller, tokens=1, call_id="a")
    valkey.command("SCRIPT", "FLUSH")

    assert (await limits.take(caller, tokens=1, call_id="b")).source == "shared"


async def test_families_do_not_share_limits_and_keys_of_a_family_do() -> None:
    caller = a_caller(requests_per_minute=1)
    sibling = a_caller(requests_per_minute=1, family_id=caller.family_id)
    stranger = a_caller(requests_per_minute=1)
    await limits.take(caller, tokens=1, call_id="a")

    refusal = await refused(sibling, tokens=1, call_id="b")

    assert refusal.details["retry_after"] == math.ceil(60)
    assert (await limits.take(stranger, tokens=1, call_id="c")).requests.remaining == 0
