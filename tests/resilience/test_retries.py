"""Another attempt only where it can help, only before anything was heard, only in time: each with its own event."""

import asyncio
import time
from datetime import timedelta
from typing import Any

import pytest
from pytest_django import Settings

from kit import clock, control, pg
from kit.errors import AuthenticationFailed, RateLimited, Unavailable, UpstreamFailed
from skills import inflight, runs
from skills.events import RunCompleted
from tenants import keys
from tenants.models import ApiKey, Tenant
from tests.factories import make_key, outside_of_the_loop
from tests.resilience.bench import Bench, assert_books_agree, events, heard_by_all, marker, strike
from tests.usage.desk import caller_of

PASSING = {
    "http_429": "released",
    "http_500": "released",
    "http_529": "released",
    "html_502": "estimated",
    "reset": "estimated",
    "drop": "estimated",
    "hangup": "estimated",
    "truncate": "estimated",
    "error_event": "estimated",
}
_ENDS_WITHIN_SECONDS = 1.0 + 0.5  # what is promised, and the way of the message through a busy machine
LASTING = ("http_400", "http_401", "http_403", "http_404", "http_413", "malformed_json")


async def test_what_passes_is_attempted_again(bench: Bench) -> None:
    for kind, state in PASSING.items():
        mark = marker()
        strike(kind, mark, count=1, after_chunks=0, retry_after=0.01)

        done = await bench.ask(f"Hello {mark}")

        first, second = (await events())[-2:]
        assert done.output, kind
        assert (first["state"], first["attempt"], first["purpose"]) == (state, 1, "answer"), kind
        assert (second["state"], second["attempt"], second["purpose"]) == ("settled", 2, "answer"), kind
        assert first["run_id"] == second["run_id"] == done.run_id
        assert done.usage.attempts == 2
    assert len(await events()) == 2 * len(PASSING)
    await assert_books_agree()


async def test_what_lasts_is_not_attempted_again(bench: Bench) -> None:
    for count, kind in enumerate(LASTING, start=1):
        mark = marker()
        strike(kind, mark, count=1, after_chunks=0)

        await bench.refusal(f"Hello {mark}")

        assert len(await events()) == count, kind


async def test_attempts_are_bounded(bench: Bench, settings: Settings) -> None:
    mark = marker()
    strike("http_529", mark)

    error = await bench.refusal(f"Hello {mark}")

    assert error.status == 529
    assert [event["attempt"] for event in await events()] == list(range(1, settings.CLAUDE_ATTEMPTS + 1))


async def test_a_relayed_call_is_attempted_again(bench: Bench) -> None:
    mark = marker()
    strike("http_529", mark, count=2)

    message = await bench.relay(f"Hello {mark}")

    assert message["stop_reason"] in {"end_turn", "max_tokens"}
    assert [event["state"] for event in await events()] == ["released", "released", "settled"]
    await assert_books_agree()


async def test_nothing_is_attempted_again_once_something_was_heard(bench: Bench) -> None:
    mark = marker()
    strike("drop", mark, count=1, after_chunks=2)

    await bench.refusal(f"Hello {mark} [[emulator:words:40]]")

    (event,) = await events()
    assert event["state"] == "estimated"


async def test_an_answer_that_is_told_as_a_whole_can_be_begun_anew(bench: Bench) -> None:
    bench.skill, mark = "classify", marker()
    strike("drop", mark, count=1, after_chunks=1)

    done = await bench.ask("", given={"text": f"Hello {mark}", "labels": ["greeting", "complaint"]})

    assert done.output["label"] in {"greeting", "complaint"}
    assert [event["state"] for event in await events()] == ["estimated", "settled"]


async def test_what_claude_asks_to_wait_is_waited(bench: Bench) -> None:
    mark = marker()
    strike("http_429", mark, count=1, retry_after=0.5)
    began = time.monotonic()

    await bench.ask(f"Hello {mark}")

    assert time.monotonic() - began >= 0.5
    assert len(await events()) == 2


async def test_a_wait_that_does_not_fit_ends_the_run_at_once_and_is_told(bench: Bench) -> None:
    mark = marker()
    strike("http_429", mark, count=1, retry_after=40)

    error = await bench.refusal(f"Hello {mark}")

    assert isinstance(error, RateLimited)
    assert (error.details["retry_after"], error.headers["Retry-After"]) == (40, "40")
    assert len(await events()) == 1


async def test_one_deadline_spans_all_attempts(bench: Bench, settings: Settings) -> None:
    settings.CLAUDE_TOTAL_SECONDS, settings.CLAUDE_ATTEMPTS = 3.0, 100
    mark = marker()
    strike("http_500", mark, retry_after=0.6)
    began = time.monotonic()

    error = await bench.refusal(f"Hello {mark}")

    assert isinstance(error, UpstreamFailed)
    assert time.monotonic() - began < 20
    assert 2 <= len(await events()) <= 5


async def test_a_budget_without_room_for_another_attempt_ends_with_what_claude_said(bench: Bench) -> None:
    mark = marker()
    strike("html_502", mark, count=1)
    issued = make_key(bench_tenant(bench), monthly_token_budget=300)
    bench.caller = outside_of_the_loop(lambda: caller_of(ApiKey.objects.select_related("tenant").get(pk=issued.key.pk)))

    error = await bench.refusal(f"Hello {mark}")

    (event,) = await events()
    assert isinstance(error, UpstreamFailed)
    assert event["charged_tokens"] == event["reserved_tokens"] > 200


async def test_a_run_that_is_ended_waits_no_longer(bench: Bench) -> None:
    mark = marker()
    strike("http_429", mark, count=1, retry_after=20)
    run = await bench.start(f"Hello {mark}")
    waiting = asyncio.create_task(runs.complete(run))
    await _first_is_closed()

    run.end(Unavailable("The server is restarting."))

    async with asyncio.timeout(_ENDS_WITHIN_SECONDS):
        with pytest.raises(Unavailable, match="restarting"):
            await waiting
    assert len(await events()) == 1


async def test_a_run_whose_key_is_revoked_waits_no_longer(bench: Bench) -> None:
    waiting = await _one_that_waits(bench)
    await heard_by_all()

    outside_of_the_loop(
        lambda: keys.revoke(ApiKey.objects.get(pk=bench.caller.key_id), reason="leaked", now=clock.now())
    )

    await _ends_as_not_allowed(waiting)


async def test_a_run_whose_key_is_revoked_unheard_waits_to_the_next_heartbeat(bench: Bench) -> None:
    waiting = await _one_that_waits(bench)
    await inflight.beat()
    assert not waiting.done()
    await pg.execute("UPDATE tenants_apikey SET revoked_at = now() WHERE id = %s", (bench.caller.key_id,))

    await inflight.beat()

    await _ends_as_not_allowed(waiting)


async def test_a_run_whose_key_expires_waits_no_longer(bench: Bench) -> None:
    waiting = await _one_that_waits(bench, expires_at=clock.now() + timedelta(seconds=2))

    await _ends_as_not_allowed(waiting, within=2 + _ENDS_WITHIN_SECONDS)


async def test_a_run_whose_key_was_revoked_between_its_admission_and_its_begin_never_begins(bench: Bench) -> None:
    await bench.ask("Hello")
    await control.react({"topic": "key.revoked", "key_id": bench.caller.key_id})

    error = await bench.refusal(f"Hello {marker()}")

    assert isinstance(error, AuthenticationFailed)
    _, unsent = await events()
    assert (unsent["state"], unsent["charged_tokens"]) == ("released", 0)
    await assert_books_agree()


async def _one_that_waits(bench: Bench, **changes: Any) -> asyncio.Task[RunCompleted]:
    """A run whose first attempt was told to come back in 20 seconds."""
    mark = marker()
    strike("http_429", mark, count=1, retry_after=20)
    waiting = asyncio.create_task(runs.complete(await bench.start(f"Hello {mark}", **changes)))
    await _first_is_closed()
    return waiting


async def _ends_as_not_allowed(waiting: asyncio.Task[RunCompleted], *, within: float = _ENDS_WITHIN_SECONDS) -> None:
    async with asyncio.timeout(within):
        with pytest.raises(AuthenticationFailed):
            await waiting
    assert len(await events()) == 1


async def _first_is_closed() -> None:
    for _ in range(500):
        if await events():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("no attempt was made")


def bench_tenant(bench: Bench) -> Tenant:
    return outside_of_the_loop(lambda: ApiKey.objects.select_related("tenant").get(pk=bench.caller.key_id).tenant)
