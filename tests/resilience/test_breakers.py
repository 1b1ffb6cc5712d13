"""After failures in a row nothing is sent to a model for a while, then one call tries; all processes know."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_django import Settings

from kit import control
from kit.errors import SkillgateError, Unavailable, UpstreamOverloaded
from skills.claude import breakers
from skills.claude.provider import PLATFORM
from tests.resilience.bench import Bench, events, heard_by_all, journal, marker, strike

ROOT = Path(__file__).resolve().parents[2]
FAILURES = 3
OTHER_PROCESS = """
import asyncio, sys
import django
django.setup()
from kit import control
from skills.claude import breakers
from skills.claude.provider import PLATFORM
from tenants import background

async def until(is_closed):
    for _ in range(1000):
        if breakers.breaker(PLATFORM, sys.argv[1]).is_closed is is_closed:
            print("closed" if is_closed else "open", flush=True)
            return
        await asyncio.sleep(0.01)

async def main():
    await background.start()
    while not control.listener().connected:
        await asyncio.sleep(0.01)
    print("listening", flush=True)
    await until(False)
    await until(True)
    await background.stop()

asyncio.run(main())
"""


@pytest.fixture(autouse=True)
def _quick(bench: Bench, settings: Settings) -> None:
    settings.CLAUDE_ATTEMPTS = 1
    settings.CLAUDE_BREAKER_FAILURES, settings.CLAUDE_BREAKER_SECONDS = FAILURES, 20.0


async def opened(bench: Bench, *, model: str) -> str:
    """Fail a model until its calls are held back, and return the mark that made it fail."""
    mark = marker()
    strike("http_529", mark, count=FAILURES)
    for _ in range(FAILURES):
        assert isinstance(await bench.refusal(f"Hello {mark}", model=model), UpstreamOverloaded)
    return mark


def its_pause_is_over(model: str) -> None:
    """Let a probe go now instead of after the pause."""
    breakers.breaker(PLATFORM, model).open(0.0)


async def _until(condition: Callable[[], bool]) -> None:
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came to pass")


async def test_after_failures_in_a_row_nothing_is_sent_and_nothing_is_booked(bench: Bench) -> None:
    await opened(bench, model="claude-opus-5")
    before = len(journal())

    error = await bench.refusal("Hello", model="claude-opus-5")

    assert isinstance(error, Unavailable)
    assert (error.details["reason"], error.details["model"]) == ("breaker_open", "claude-opus-5")
    assert int(error.headers["Retry-After"]) >= 1
    assert len(await events()) == FAILURES
    assert len(journal()) == before
    assert (await bench.ask("Hello", model="claude-haiku-4-5")).output


async def test_a_relayed_call_is_told_when_to_come_back(bench: Bench) -> None:
    await opened(bench, model="claude-sonnet-5")

    with pytest.raises(Unavailable) as refused:
        await bench.relay("Hello", model="claude-sonnet-5")

    assert refused.value.details["reason"] == "breaker_open"
    assert "Retry-After" in refused.value.headers


async def test_a_success_in_between_starts_the_count_anew(bench: Bench) -> None:
    for _ in range(2):
        mark = marker()
        strike("http_500", mark, count=FAILURES - 1)
        for _ in range(FAILURES - 1):
            await bench.refusal(f"Hello {mark}", model="claude-opus-5")
        assert (await bench.ask("Hello", model="claude-opus-5")).output


async def test_what_is_the_callers_own_fault_holds_nothing_back(bench: Bench) -> None:
    mark = marker()
    strike("http_400", mark)
    for _ in range(FAILURES + 1):
        assert (await bench.refusal(f"Hello {mark}", model="claude-opus-5")).status == 400


async def test_one_call_tries_and_lets_all_pass_again(bench: Bench) -> None:
    await opened(bench, model="claude-opus-5")
    its_pause_is_over("claude-opus-5")
    slowly = "Hello [[emulator:latency:0.4]]"

    probe = asyncio.create_task(bench.ask(slowly, model="claude-opus-5"))
    await _until(lambda: not breakers.breaker(PLATFORM, "claude-opus-5").is_ready)
    meanwhile = await bench.refusal("Hello", model="claude-opus-5")

    assert isinstance(meanwhile, Unavailable)
    assert (await probe).output
    assert (await bench.ask("Hello", model="claude-opus-5")).output


async def test_a_try_that_fails_holds_back_for_longer(bench: Bench) -> None:
    mark = await opened(bench, model="claude-opus-5")
    first = await bench.refusal("Hello", model="claude-opus-5")
    its_pause_is_over("claude-opus-5")
    strike("http_529", mark, count=1)

    assert isinstance(await bench.refusal(f"Hello {mark}", model="claude-opus-5"), UpstreamOverloaded)

    second = await bench.refusal("Hello", model="claude-opus-5")
    assert first.details["retry_after"] <= 24 < 32 <= second.details["retry_after"] <= 48


async def test_a_try_that_is_given_up_leaves_the_next_call_to_try(bench: Bench) -> None:
    await opened(bench, model="claude-opus-5")
    its_pause_is_over("claude-opus-5")
    run = await bench.start("Hello [[emulator:latency:5]]", model="claude-opus-5")
    run.end(SkillgateError("The client is gone."))
    async for _ in run.events():
        pass

    for _ in range(100):  # its turn is given back beside the calls
        try:
            assert (await bench.ask("Hello", model="claude-opus-5")).output
        except Unavailable:
            await asyncio.sleep(0.01)
        else:
            return
    raise AssertionError("nobody may try")


async def test_another_process_knows_at_once(bench: Bench) -> None:
    model = "claude-haiku-4-5"
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT / 'platform'}:{ROOT}",
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }
    with subprocess.Popen(  # noqa: ASYNC220 - it is started, not waited for
        [sys.executable, "-c", OTHER_PROCESS, model], env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert (await asyncio.to_thread(other.stdout.readline)).strip() == "listening"

        await opened(bench, model=model)
        assert (await asyncio.to_thread(other.stdout.readline)).strip() == "open"

        its_pause_is_over(model)
        await bench.ask("Hello", model=model)
        assert (await asyncio.to_thread(other.stdout.readline)).strip() == "closed"


async def test_what_another_process_found_out_holds_here(bench: Bench) -> None:
    await heard_by_all()
    told = {"origin": "another", "kind": "platform", "tenant_id": 0, "model": "claude-opus-5"}

    await control.react({"topic": breakers.OPENED, **told, "seconds": 5.0})
    assert isinstance(await bench.refusal("Hello", model="claude-opus-5"), Unavailable)

    await control.react({"topic": breakers.CLOSED, **told, "seconds": 0})
    assert (await bench.ask("Hello", model="claude-opus-5")).output


async def test_without_redis_a_process_finds_out_for_itself(bench: Bench, settings: Settings) -> None:
    settings.REDIS_URL = "unix:///nowhere/redis.sock?db=0"
    await opened(bench, model="claude-opus-5")

    assert isinstance(await bench.refusal("Hello", model="claude-opus-5"), Unavailable)
    its_pause_is_over("claude-opus-5")
    assert (await bench.ask("Hello", model="claude-opus-5")).output
    assert breakers.breaker(PLATFORM, "claude-opus-5").is_closed
