"""The places towards Claude: bounded, given to tenants in turn, refused when they cannot come in time."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from pytest_django import Settings

from kit import pg
from kit.errors import Unavailable
from skills import runs
from skills.claude import places, provider
from skills.claude.gates import LEAST, Gate
from tests.resilience.bench import Bench, assert_books_agree, journal, marker, strike
from tests.usage.desk import caller_of, open_desk


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_tenants_take_turns(bench: Bench, settings: Settings) -> None:
    settings.CLAUDE_CALLS, settings.CLAUDE_QUEUE_SECONDS = 1, 60.0
    bench.caller = replace(bench.caller, requests_per_minute=1000)
    quiet = Bench(caller_of(open_desk("quiet").key))
    ended: list[str] = []

    async def one(who: Bench, name: str) -> None:
        await who.ask("Hello [[emulator:words:8]] [[emulator:chunk_ms:120]]")
        ended.append(name)

    loud = [asyncio.create_task(one(bench, f"loud {number}")) for number in range(6)]
    await _until(lambda: places._gate(provider.PLATFORM).waiting == 5)
    ended_before = len(ended)
    await asyncio.gather(*loud, one(quiet, "quiet"))

    assert ended.index("quiet") - ended_before <= 2  # the one under way, and one in turn
    assert len(ended) == 7
    await assert_books_agree()


async def test_a_call_that_gets_no_place_in_time_is_refused_and_leaves_nothing(
    bench: Bench, settings: Settings
) -> None:
    settings.CLAUDE_CALLS, settings.CLAUDE_QUEUE_SECONDS = 1, 2.5
    run = await bench.start("Hello [[emulator:words:400]] [[emulator:chunk_ms:200]]")
    before = len(journal())

    error = await bench.refusal("Hello")

    assert isinstance(error, Unavailable)
    assert error.details["reason"] == "busy"
    assert int(error.headers["Retry-After"]) >= 1
    assert len(await _all_events()) == 1
    assert len(journal()) - before <= 1
    run.end(error)
    with pytest.raises(Unavailable):
        await runs.complete(run)
    assert (await bench.ask("Hello")).output


async def test_who_would_wait_too_long_is_refused_at_once() -> None:
    gate = Gate("platform", most=1)
    assert gate.take()

    with pytest.raises(Unavailable) as refused:
        await gate.wait(1, within=0.5)

    assert refused.value.details == {"retry_after": 2, "reason": "busy"}
    assert gate.waiting == 0


async def test_turns_go_round_and_those_who_left_are_passed_over() -> None:
    gate = Gate("platform", most=1)
    gate.take()
    order: list[str] = []

    async def one(tenant: int, name: str) -> None:
        await gate.wait(tenant, within=60)
        order.append(name)
        gate.leave(seconds=0.001)

    waiting = [asyncio.create_task(one(1, f"a{n}")) for n in range(3)]
    await asyncio.sleep(0)
    waiting += [asyncio.create_task(one(2, "b0")), asyncio.create_task(one(3, "c0"))]
    await asyncio.sleep(0)
    waiting[1].cancel()
    await asyncio.sleep(0)
    gate.leave(seconds=0.001)
    await asyncio.wait(waiting)

    assert order == ["a0", "b0", "c0", "a2"]
    assert (gate.in_use, gate.waiting) == (0, 0)


async def test_a_refusal_for_the_rate_halves_the_bound_once_and_time_brings_it_back() -> None:
    clock = Clock()
    gate = Gate("platform", most=120, monotonic=clock)
    for _ in range(40):
        assert gate.take()

    gate.shrink()
    gate.shrink()

    assert gate.bound == 20
    assert not gate.take()
    clock.now += 15
    assert gate.bound == 50
    clock.now += 60
    assert gate.bound == 120


async def test_what_the_headers_say_is_left_caps_the_bound_until_the_reset() -> None:
    clock = Clock()
    gate = Gate("platform", most=100, monotonic=clock)
    now = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
    headers = {
        "anthropic-ratelimit-requests-limit": "1000",
        "anthropic-ratelimit-requests-remaining": "500",
        "anthropic-ratelimit-tokens-limit": "1000000",
        "anthropic-ratelimit-tokens-remaining": "20000",
        "anthropic-ratelimit-tokens-reset": "2026-11-21T12:00:30Z",
    }

    gate.heed(headers, now=now)
    assert gate.bound == 20
    clock.now += 1.5  # of 30 until all is back, so a twentieth of the rest
    assert gate.bound == 69
    gate.heed({**headers, "anthropic-ratelimit-tokens-remaining": "0"}, now=now)
    assert gate.bound == LEAST
    clock.now += 31
    assert gate.bound == 100
    for nonsense in (
        {"anthropic-ratelimit-tokens-limit": "many"},
        {},
        {**headers, "anthropic-ratelimit-tokens-limit": "0"},
    ):
        gate.heed(nonsense, now=now)
    assert gate.bound == 100


async def test_a_crowd_waits_for_what_refills_and_none_of_it_is_refused() -> None:
    gate = Gate("platform", most=2000)
    for _ in range(200):  # calls have taken long until now
        gate.take()
        gate.leave(seconds=30.0)
    assert gate.bound == 2000  # which says nothing of Claude's limits
    spent = {"anthropic-ratelimit-requests-limit": "4000", "anthropic-ratelimit-requests-remaining": "0"}
    now = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
    gate.heed({**spent, "anthropic-ratelimit-requests-reset": "2026-11-21T12:00:03Z"}, now=now)
    assert gate.bound < 200

    at_once = sum(gate.take() for _ in range(2000))
    await asyncio.gather(*(gate.wait(1, within=20.0) for _ in range(2000 - at_once)))

    assert at_once < 200
    assert (gate.in_use, gate.waiting, gate.bound) == (2000, 0, 2000)


@pytest.mark.parametrize("refusal", ["http_429", "http_529"])
async def test_a_refusal_reaches_the_bound(bench: Bench, settings: Settings, refusal: str) -> None:
    settings.CLAUDE_CALLS = 64
    mark = marker()
    strike(refusal, mark, count=1, retry_after=0.01)

    await bench.ask(f"Hello {mark}")

    gate = places._gate(provider.PLATFORM)
    assert gate.bound < 64
    assert gate.in_use == 0


async def _until(condition: Callable[[], bool]) -> None:
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came to pass")


async def _all_events() -> list[object]:
    return list(await pg.fetch_all("SELECT id FROM usage_event"))
