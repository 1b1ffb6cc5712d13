"""200 callers in 8 processes against two web processes, and a budget that fits exactly some of them."""

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from typing import Any

import pytest

from tests.failure import books, callers
from tests.failure.stack import ROOT, Stack

PROCESSES = 8
CALLERS = 200
FITTING = 37
MAX_TOKENS = 400
# Longer than it takes to refuse all the others: while a call runs, what it has reserved is not free.
PROMPT = callers.lasting(7)


@pytest.fixture(scope="module")
def each(stack: Stack, key: str) -> int:
    """How many tokens one of the calls reserves."""
    told = asyncio.run(callers.run(stack.urls[0], key, PROMPT, max_tokens=MAX_TOKENS, leave_after=1.0))
    assert told.status == 0
    (row,) = stack.sql("SELECT reserved_tokens FROM usage_event ORDER BY opened_at DESC LIMIT 1")
    return int(row["reserved_tokens"])


def test_exactly_the_calls_that_fit_the_keys_budget_are_admitted(stack: Stack, each: int) -> None:
    tight = stack.key(name="race", monthly_token_budget=FITTING * each + each // 3)

    answers = _race(stack, key=tight)

    _assert_exactly_the_fitting_were_admitted(stack, answers, owner="key", cap=FITTING * each + each // 3, name="race")


def test_exactly_the_calls_that_fit_the_tenants_budget_are_admitted(stack: Stack, each: int) -> None:
    shared = stack.key(stack.tenant("race", monthly_tokens=FITTING * each), name="tenant-race")

    answers = _race(stack, key=shared)

    _assert_exactly_the_fitting_were_admitted(stack, answers, owner="tenant", cap=FITTING * each, name="tenant-race")


def _race(stack: Stack, *, key: str) -> list[dict[str, Any]]:
    order = {
        "urls": stack.urls,
        "key": key,
        "prompt": PROMPT,
        "max_tokens": MAX_TOKENS,
        "callers": CALLERS // PROCESSES,
        "begins_at": time.time() + 2,
    }
    crowd = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.failure.crowd"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for _ in range(PROCESSES)
    ]
    for process in crowd:
        assert process.stdin is not None
        process.stdin.write(json.dumps(order))
        process.stdin.close()
        process.stdin = None
    return [answer for process in crowd for answer in json.loads(process.communicate(timeout=60)[0])]


def _assert_exactly_the_fitting_were_admitted(
    stack: Stack, answers: list[dict[str, Any]], *, owner: str, cap: int, name: str
) -> None:
    refused = [answer for answer in answers if answer["status"] == 402]
    first_end = min(answer["ended_at"] for answer in answers if answer["status"] == 200)
    assert Counter(answer["status"] for answer in answers) == {200: FITTING, 402: CALLERS - FITTING}
    assert max(answer["ended_at"] for answer in refused) < first_end, "the calls were too short to race"
    for answer in refused:
        _assert_truthful(answer["body"]["error"], owner=owner, cap=cap)
    events = stack.sql(
        "SELECT e.state, e.charged_tokens FROM usage_event e JOIN tenants_apikey k ON k.id = e.key_id WHERE k.name LIKE %s",
        [f"{name}%"],
    )
    assert [event["state"] for event in events] == ["settled"] * FITTING
    assert sum(event["charged_tokens"] for event in events) <= cap
    assert books.faults(stack) == []


def _assert_truthful(error: dict[str, Any], *, owner: str, cap: int) -> None:
    assert error["type"] == "billing_error"
    assert (error["owner"], error["window"], error["unit"], error["cap"]) == (owner, "month", "tokens", cap)
    assert error["used"] + error["reserved"] + error["left"] == cap
    assert error["requested"] > error["left"]
