"""Claude failing three times in ten, at random, under a hundred callers: nearly all are answered, and the books agree."""

import asyncio
import random
from collections import Counter

import httpx2

from tests.failure import callers
from tests.resilience.bench import marker, strike
from tests.skills.gateway import CLASSES, Gateway, Key

CALLERS = 100
ROUNDS = 3
SHARE = 0.3
KINDS = ("http_500", "http_529", "html_502", "reset", "error_event")


async def test_over_99_of_100_calls_are_answered_while_3_of_10_attempts_fail(gateway: Gateway, key: Key) -> None:
    chance = random.Random(20_261_121)
    prompts = [_prompt(chance, gateway) for _ in range(CALLERS * ROUNDS)]

    async def caller(number: int) -> list[callers.Told]:
        return [await callers.run(gateway.url, key.secret, one, leave_after=60) for one in prompts[number::CALLERS]]

    told = [one for each in await asyncio.gather(*map(caller, range(CALLERS))) for one in each]

    answered = sum(one.status == 200 for one in told)
    assert answered / len(told) > 0.99, [(one.status, one.error, one.trouble) for one in told if one.status != 200]
    _assert_one_event_for_each_attempt(key)
    httpx2.delete(f"{gateway.emulator}/_emulator/faults")


def _prompt(chance: random.Random, gateway: Gateway) -> str:
    """A prompt whose attempts fail as often in a row as three in ten, drawn anew for each attempt, come to."""
    failures = 0
    while chance.random() < SHARE:
        failures += 1
    mark = marker()
    if failures:
        strike(chance.choice(KINDS), mark, url=gateway.emulator, count=failures, after_chunks=0)
    return f"Hello {mark}"


def _assert_one_event_for_each_attempt(key: Key) -> None:
    events, billed = key.events(), key.billed()
    theirs = {entry["client_reference"]: entry["usage"] for entry in billed}
    assert len(theirs) == len(billed)
    for event in events:
        usage = theirs.get(str(event["id"]))
        if event["state"] == "settled":
            assert {name: event[name] for name in CLASSES} == usage
        elif event["state"] == "released":
            assert usage is None
        else:
            assert event["charged_tokens"] >= sum((usage or {}).values())
    runs = [event["run_id"] for event in events]
    assert len(set(runs)) == CALLERS * ROUNDS
    assert len(runs) > 1.3 * CALLERS * ROUNDS
    for run, count in Counter(runs).items():
        assert sorted(row["attempt"] for row in events if row["run_id"] == run) == list(range(1, count + 1))
    [account] = key.gateway.rows(
        "SELECT a.settled_tokens, a.reserved_tokens FROM usage_budgetaccount a WHERE a.key_id = %s", key.key_id
    )
    assert account == {"settled_tokens": sum(event["charged_tokens"] for event in events), "reserved_tokens": 0}
