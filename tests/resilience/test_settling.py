"""An answer is made while the ledger is at work on its settlement, and leaves when that is committed."""

import asyncio

import pytest

from kit import pg
from kit.errors import AuthenticationFailed
from kit.statements import Connection
from skills import inflight, messages, runs
from skills.events import RunCompleted
from tenants.limits import shared
from tests.resilience.bench import Bench, assert_books_agree, events, marker


async def locked(bench: Bench, lent: Connection) -> None:
    """Have the ledger wait with all that it closes for the caller's tenant."""
    await lent.execute("SELECT 1 FROM usage_tenanttally WHERE tenant_id = %s FOR UPDATE", (bench.caller.tenant_id,))


async def until(made: list[str]) -> None:
    for _ in range(1_000):
        if made:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("nothing was made of the answer")


@pytest.mark.parametrize("surface", ["skill", "messages"])
async def test_an_answer_is_made_before_its_settlement_and_leaves_after_it(bench: Bench, surface: str) -> None:
    made: list[str] = []
    prompt = f"Hello [[emulator:latency:0.3]] {marker()}"
    answering: asyncio.Task[None]
    if surface == "skill":
        run = await bench.start(prompt)
        answering = asyncio.create_task(runs.rendered(run, lambda done: made.append(done.output)))
    else:
        body = {"model": "claude-sonnet-5", "max_tokens": 100, "messages": [{"role": "user", "content": prompt}]}
        relay = await messages.start(messages.Ask(caller=bench.caller, body=body, request_id="req_resilience"))
        answering = asyncio.create_task(
            messages.rendered(relay, lambda message: made.append(message["content"][0]["text"]))
        )

    async with pg.connection() as lent, lent.transaction():
        await locked(bench, lent)
        await until(made)
        await asyncio.sleep(0.1)
        assert not answering.done()
        assert inflight.count() == 1

    await answering
    assert [row["state"] for row in await events()] == ["settled"]
    assert inflight.count() == 0
    await assert_books_agree()


async def test_an_answer_that_is_made_does_not_leave_if_its_key_is_revoked_before_its_settlement(bench: Bench) -> None:
    made: list[str] = []
    run = await bench.start(f"Hello [[emulator:latency:0.3]] {marker()}")

    def render(done: RunCompleted) -> None:
        made.append(done.output)

    answering = asyncio.create_task(runs.rendered(run, render))
    async with pg.connection() as lent, lent.transaction():
        await locked(bench, lent)
        await until(made)
        run.end(AuthenticationFailed())

    with pytest.raises(AuthenticationFailed):
        await answering
    assert run.is_spent
    assert [row["state"] for row in await events()] == ["settled"]
    await assert_books_agree()


@pytest.mark.parametrize(("at_once", "waits"), [(100, False), (1, True)])
async def test_an_answer_waits_for_what_it_gives_back_where_the_next_call_needs_that(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, at_once: int, waits: bool
) -> None:
    given_back: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    monkeypatch.setattr(shared, "finish", lambda *_, **__: given_back)
    run = await bench.start(f"Hello {marker()}", concurrent_calls=at_once)
    answering = asyncio.create_task(runs.complete(run))

    await asyncio.wait({answering}, timeout=1.0 if waits else 10.0)

    assert answering.done() is not waits
    given_back.set_result(None)
    assert (await answering).output
