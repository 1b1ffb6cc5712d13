"""A call that is relayed, seen from inside: what it says while Claude is silent, and what Claude is told."""

import json
import os
from contextlib import aclosing
from typing import Any

import httpx2
import pytest

from kit import clock
from kit.errors import UpstreamFailed
from skills import messages
from skills.messages import Ask, relaying
from tenants import keys
from tenants.keys import Caller
from tests import factories
from usage import pricing

pytestmark = pytest.mark.django_db(transaction=True)
SLOW = [{"role": "user", "content": "Hello [[emulator:words:6]] [[emulator:chunk_ms:700]]"}]


async def a_caller() -> Caller:
    factories.outside_of_the_loop(lambda: pricing.load(pricing.SHIPPED, now=clock.now()))
    issued = factories.make_key(factories.make_tenant())
    return await keys.authenticate(issued.secret, address="127.0.0.1", now=clock.now())


def asked(caller: Caller, **changes: Any) -> Ask:
    body: dict[str, Any] = {"model": "claude-opus-5", "max_tokens": 50, "messages": SLOW, **changes}
    return Ask(caller=caller, body=body, request_id="req_test")


async def test_claudes_silences_are_filled_with_pings_once_the_answer_has_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(relaying, "PING_SECONDS", 0.3)
    monkeypatch.setattr(relaying, "PING", messages.StreamEvent(type="ping", data={"type": "ping"}, raw='{"ours": 1}'))
    relay = await messages.start(asked(await a_caller()))

    async with aclosing(relay.events()) as events:
        heard = [said async for said in events if isinstance(said, messages.StreamEvent)]

    ours = [at for at, said in enumerate(heard) if said.raw == '{"ours": 1}']
    assert len(ours) >= 2
    assert heard[0].type == "message_start"
    assert heard[-1].type == "message_stop"


async def test_a_latent_answer_is_not_begun_by_a_ping(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relaying, "PING_SECONDS", 0.1)
    late = [{"role": "user", "content": "Hello [[emulator:latency:1]]"}]
    relay = await messages.start(asked(await a_caller(), messages=late))

    async with aclosing(relay.events()) as events:
        first = await anext(events)

    assert isinstance(first, messages.StreamEvent)
    assert first.type == "message_start"


@pytest.mark.parametrize(("metadata", "told"), [(None, None), ({"user_id": "someone"}, "someone"), ({}, None)])
async def test_claude_is_told_who_asks_unless_the_caller_says_it(
    metadata: dict[str, str] | None, told: str | None
) -> None:
    caller = await a_caller()
    changes = {} if metadata is None else {"metadata": metadata}

    relay = await messages.start(asked(caller, messages=[{"role": "user", "content": "Hello"}], **changes))
    await messages.complete(relay)

    reference = str(relay.admitted.reservation.event_id)
    journal = httpx2.get(f"{os.environ['SKILLGATE_EMULATOR_URL']}/_emulator/journal").text
    entry = next(line for line in journal.splitlines() if reference in line)
    expected = f'"{caller.public_id}"' if metadata is None else "null" if told is None else f'"{told}"'
    assert f'"user_id": {expected}' in entry


async def test_betas_travel_to_claude_as_they_came() -> None:
    caller = await a_caller()
    relay = await messages.start(Ask(caller=caller, body=asked(caller).body, request_id="r", betas="a-1,b-2"))

    assert relay.upstream_headers == {"anthropic-beta": "a-1,b-2"}
    await messages.complete(relay)


async def test_a_message_that_cannot_be_put_together_is_an_error_and_is_billed_as_claude_says() -> None:
    caller = await a_caller()
    relay = await messages.start(asked(caller, messages=[{"role": "user", "content": "Hello"}]))
    relay.gather()
    lost = {"type": "content_block_delta", "index": 7, "delta": {"type": "text_delta", "text": "Hi"}}

    await relay.read([messages.StreamEvent("content_block_delta", lost, raw=json.dumps(lost))])
    last = await relay.ending(lambda said: said)

    assert isinstance(last, messages.StreamEvent)
    with pytest.raises(UpstreamFailed):
        relay.message()
    assert relay.usage.tokens.output > 0
    assert not relay.usage.is_estimated
