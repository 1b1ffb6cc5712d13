"""One table of situations, every entry point: the same outcome, and exactly one usage event for each attempt."""

import asyncio
import time

import pytest
from django.conf import settings

from tests.entry_points.doors import Door, Outcome, Wish
from tests.skills.gateway import Key, MakeKey

PROMPT = "Tell me about the white rabbit."
# Slow enough to be left or revoked in the middle: 60 words, some 50 ms each.
SLOW = Wish(f"{PROMPT} [[emulator:words:60]] [[emulator:chunk_ms:50]]")

ALL = (
    settings.CLAUDE_ATTEMPTS
)  # what another attempt could help is attempted so often, unless something of the answer was heard
# Fault on demand → the error's type at every door, the state of its usage events, and how many attempts there are.
FAULTS = {
    "http_400": ("invalid_request_error", "released", 1),
    "http_401": ("api_error", "released", 1),
    "http_403": ("api_error", "released", 1),
    "http_404": ("api_error", "released", 1),
    "http_413": ("request_too_large", "released", 1),
    "http_429:0.01": ("rate_limit_error", "released", ALL),
    "http_500": ("api_error", "released", ALL),
    "http_529": ("overloaded_error", "released", ALL),
    "html_502": ("api_error", "estimated", ALL),
    "malformed_json:2": ("api_error", "estimated", 1),
    "reset": ("api_error", "estimated", ALL),
    "drop:2": ("api_error", "estimated", 1),
    "hangup:2": ("api_error", "estimated", 1),
    "truncate:2": ("api_error", "estimated", 1),
    "error_event:2": ("overloaded_error", "estimated", 1),
    "silence:2": ("timeout_error", "estimated", 1),
    "usage_missing": ("ok", "estimated", 1),
    "usage_absurd:huge": ("ok", "estimated", 1),
    "usage_absurd:negative": ("ok", "estimated", 1),
}
# Where the client is when it leaves: how many pieces it has seen, or after how long at the latest.
LEAVING = {
    "before the first byte": (0, 0.05),
    "after the beginning": (1, 0.5),
    "after the first text": (3, 0.8),
    "in the middle": (12, 1.2),
    "near the end": (30, 2.4),
}


async def test_a_good_call_is_answered(door: Door, key: Key) -> None:
    outcome = await door.call(key.secret, Wish(PROMPT))

    assert outcome.kind == "ok"
    assert outcome.text
    assert key.event()["state"] == "settled"
    key.assert_books_agree()


@pytest.mark.parametrize("secret", ["", "nonsense", "sg_live_" + "0" * 46])
async def test_a_bad_key_is_refused(door: Door, secret: str) -> None:
    outcome = await door.call(secret, Wish(PROMPT))

    assert outcome.kind == "authentication_error"


async def test_a_call_over_the_rate_is_refused(door: Door, make_key: MakeKey) -> None:
    key = make_key(requests_per_minute=1)

    first, second = await door.call(key.secret, Wish(PROMPT)), await door.call(key.secret, Wish(PROMPT))

    assert (first.kind, second.kind) == ("ok", "rate_limit_error")
    assert key.event()["state"] == "settled"


async def test_a_call_over_the_budget_is_refused(door: Door, make_key: MakeKey) -> None:
    key = make_key(monthly_token_budget=100)

    outcome = await door.call(key.secret, Wish(PROMPT))

    assert outcome.kind == "billing_error"
    assert key.events() == []


@pytest.mark.parametrize("fault", FAULTS)
async def test_an_upstream_fault_is_told_and_booked(door: Door, fault: str, key: Key) -> None:
    kind, state, attempts = FAULTS[fault]

    outcome = await door.call(key.secret, Wish(f"{PROMPT} [[emulator:words:20]] [[emulator:{fault}]]"))

    events, billed = key.events(), {entry["client_reference"]: entry["usage"] for entry in key.billed()}
    assert (outcome.kind, [event["state"] for event in events]) == (kind, [state] * attempts)
    assert [event["attempt"] for event in events] == list(range(1, attempts + 1))
    assert len(key.billed()) == len(billed) <= attempts
    assert len({event["run_id"] for event in events}) == 1
    for event in events:
        assert event["charged_tokens"] >= sum(billed.get(str(event["id"]), {}).values())


async def test_a_key_revoked_in_the_middle_ends_the_call_at_once(door: Door, make_key: MakeKey) -> None:
    key = make_key()
    calling = asyncio.create_task(door.call(key.secret, SLOW))
    await asyncio.sleep(0.6)

    await asyncio.to_thread(key.revoke)
    revoked_at = time.monotonic()
    outcome = await calling

    assert time.monotonic() - revoked_at < 1.0
    assert outcome.kind == "authentication_error"
    event, [billed] = key.event(), key.billed()
    assert event["state"] == "estimated"
    assert event["charged_tokens"] >= sum(billed["usage"].values())


@pytest.mark.parametrize("point", LEAVING)
async def test_a_client_that_leaves_is_billed_once_and_frees_its_place(
    door: Door, point: str, make_key: MakeKey
) -> None:
    key = make_key(concurrent_calls=1)
    pieces, seconds = LEAVING[point]

    await door.leave(key.secret, SLOW, after_pieces=pieces, after_seconds=seconds)
    left_at = time.monotonic()
    outcome = await _until_admitted(door, key)

    assert time.monotonic() - left_at < 4.0
    assert outcome.kind == "ok"
    left, _ = key.events()
    billed = [entry for entry in key.billed() if entry["client_reference"] == str(left["id"])]
    assert len(billed) <= 1
    assert left["charged_tokens"] >= sum(sum(entry["usage"].values()) for entry in billed)
    assert left["state"] != "open"


async def _until_admitted(door: Door, key: Key) -> Outcome:
    give_up = time.monotonic() + 6
    while True:
        outcome = await door.call(key.secret, Wish(PROMPT))
        if outcome.kind != "rate_limit_error" or time.monotonic() > give_up:
            return outcome
        await asyncio.sleep(0.1)
