"""Web, worker, beat, Redis and Postgres killed at random under load: the books must come out right to the token."""

import asyncio
import json
import os
import random
import secrets
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from kit import ids
from tests.failure import books, callers
from tests.failure.callers import Told
from tests.failure.mayhem import Mayhem
from tests.failure.stack import Stack

SECONDS = float(os.environ.get("SKILLGATE_KILL_SECONDS", "30"))
CALLERS = 40
TIGHT_BUDGET = 30_000
# A lease of 60 s, and a sweep every 10 s by a worker that may just have been started again.
LONGEST_REST_SECONDS = 90.0
_FAULTS = (
    "",
    "",
    "",
    "",
    "[[emulator:truncate]]",
    "[[emulator:drop]]",
    "[[emulator:http_529]]",
    "[[emulator:error_event]]",
)


@pytest.fixture(scope="module")
def doomed() -> Iterator[Stack]:
    """A stack that nothing else uses."""
    with Stack() as stack:
        yield stack


def test_the_books_are_right_after_every_process_was_killed_under_load(doomed: Stack) -> None:
    seed = int(os.environ.get("SKILLGATE_KILL_SEED", secrets.randbelow(10**6)))
    print(f"\nSKILLGATE_KILL_SEED={seed} SKILLGATE_KILL_SECONDS={SECONDS:.0f}")  # noqa: T201 - how to repeat the run
    mayhem = Mayhem(doomed, seed=seed)
    keys = [
        doomed.key(name="plenty"),
        doomed.key(doomed.tenant(f"neighbour-{secrets.token_hex(4)}"), name="neighbour"),
        doomed.key(name="tight", monthly_token_budget=TIGHT_BUDGET),
    ]

    told = asyncio.run(_under_load(doomed, mayhem, keys=keys, seed=seed))
    rested = _rest(doomed)

    events = doomed.sql("SELECT state, error_type, count(*) AS count FROM usage_event GROUP BY 1, 2 ORDER BY 3 DESC")
    print(f"trouble {dict(mayhem.done)}")  # noqa: T201 - the figures of the run
    print(f"answers {dict(Counter(one.status or one.trouble for one in told).most_common())}")  # noqa: T201
    print(f"events {[tuple(event.values()) for event in events]}, calls billed {len(doomed.calls())}")  # noqa: T201
    print(f"at rest after {rested:.1f} s; unexpected lines in logs: {len(doomed.logged('Traceback'))}")  # noqa: T201
    assert books.faults(doomed) == []
    assert _verified(doomed)["findings"] == []
    assert _untruthful(doomed, told) == []
    assert {one.status for one in told} <= {0, 200, 402, 502, 503, 529}
    heard = [one.status for one in told if one.status]
    assert heard.count(200) > len(heard) / 4


async def _under_load(stack: Stack, mayhem: Mayhem, *, keys: list[str], seed: int) -> list[Told]:
    until = time.monotonic() + SECONDS
    async with mayhem.raging():
        crowd = [
            _calls(stack, keys, until=until, chance=random.Random(f"{seed}:{number}")) for number in range(CALLERS)
        ]
        told = await asyncio.gather(*crowd)
    return [one for of_caller in told for one in of_caller]


async def _calls(stack: Stack, keys: list[str], *, until: float, chance: random.Random) -> list[Told]:
    told = []
    while time.monotonic() < until:
        call = chance.choice([callers.run, callers.run, callers.relay, callers.stream])
        is_leaving = chance.random() < 0.15
        text = callers.prompt(
            # Who leaves does so long before the end: a run goes on for 2 s after that.
            words=300 if is_leaving else chance.randint(1, 120),
            chunk_ms=100 if is_leaving else chance.choice([0, 20, 100]),
            fault="" if is_leaving else chance.choice(_FAULTS),
        )
        leave_after = chance.uniform(0.05, 2.0) if is_leaving else callers.PATIENCE_SECONDS
        key = chance.choices(keys, weights=[6, 3, 1])[0]
        told.append(await call(chance.choice(stack.urls), key, text, max_tokens=300, leave_after=leave_after))
        # Pauses keep calls of every age under way at each kill, and leave the machine something for the killed.
        await asyncio.sleep(chance.uniform(0.1, 1.1))
    return told


def _rest(stack: Stack) -> float:
    """Wait until every event is closed, and return how long it took."""
    began = time.monotonic()
    while time.monotonic() - began < LONGEST_REST_SECONDS:
        if not stack.open_events():
            break
        time.sleep(1)
    return time.monotonic() - began


def _verified(stack: Stack) -> dict[str, Any]:
    """What the platform's own check says; it exits with 1 if anything is not as it must be."""
    return dict(json.loads(stack.manage("verify_ledger", "--journal", str(stack.journal), "--json")))


def _untruthful(stack: Stack, told: list[Told]) -> list[str]:
    """Whoever was told a usage finds the same in the books.

    Only when the process died before Postgres, which was away, could hear of it, they hold the sweep's bound.
    """
    query = """
        SELECT run_id, sum(charged_tokens) AS tokens, sum(cost_micros) AS micros,
            bool_or(error_type = 'lease_lapsed') AS is_swept FROM usage_event GROUP BY 1
    """
    booked = {row["run_id"]: row for row in stack.sql(query)}
    found = []
    for answer in (one.body for one in told if one.body.get("type") == "run"):
        row = booked[ids.decode("run", answer["id"])]
        said, books_say = (
            (answer["usage"]["total_tokens"], answer["usage"]["cost_micros"]),
            (row["tokens"], row["micros"]),
        )
        is_covered = row["is_swept"] and books_say[0] >= said[0] and books_say[1] >= said[1]
        if said != books_say and not is_covered:
            found.append(f"{answer['id']} was told {answer['usage']}, booked {row}")
    return found
