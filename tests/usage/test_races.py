"""Many at once, in many processes: a cap for exactly N admits N, numbers have no gap, a late settlement and the sweep agree."""

import asyncio
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import connection

from tests.usage.desk import Desk, account, events, lapse, open_desk, settled
from usage import ledger, verification

ROOT = Path(__file__).resolve().parents[2]
PROCESSES = 8
CALLERS = 25


def race(desk: Desk, *, size: int, rounds: int = 1) -> list[str]:
    given = [str(one) for one in (connection.settings_dict["NAME"], desk.key.pk, size, rounds, CALLERS)]
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}:{ROOT / 'platform'}",
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.usage.crowd", *given],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            cwd=ROOT,
            text=True,
        )
        for _ in range(PROCESSES)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60)[0] for process in processes]
    return [word for words in said for word in json.loads(words)]


@pytest.mark.parametrize("level", ["tenant", "key"])
def test_a_cap_for_exactly_n_admits_n_of_200_callers_in_8_processes(prices: None, level: str) -> None:
    fitting, size = 137, 100
    cap = fitting * size + size - 1
    desk = open_desk(tokens=cap) if level == "tenant" else open_desk(key_tokens=cap)

    words = race(desk, size=size)

    assert len(words) == PROCESSES * CALLERS
    assert words.count("admitted") == fitting
    assert words.count("BudgetExceeded") == PROCESSES * CALLERS - fitting
    assert account(desk, owner=level)["reserved_tokens"] == fitting * size
    assert [event["number"] for event in events(desk)] == list(range(1, fitting + 1))


def test_numbers_have_no_gap_and_books_balance_after_many_rounds(prices: None) -> None:
    desk = open_desk(tokens=30_000)

    words = race(desk, size=100, rounds=6)

    found = events(desk)
    assert set(words) <= {"admitted", "BudgetExceeded"}
    assert [event["number"] for event in found] == list(range(1, words.count("admitted") + 1))
    assert account(desk)["reserved_tokens"] == 0
    assert account(desk)["settled_tokens"] == sum(event["charged_tokens"] for event in found) <= 30_000
    assert verification.verify().findings == []


async def test_the_sweep_and_a_late_settlement_agree_a_thousand_times(desk: Desk) -> None:
    for _ in range(20):
        reservations = await asyncio.gather(*(desk.reserve(100) for _ in range(50)))
        lapse(desk)

        async def late(reservation: ledger.Reservation) -> str:
            await asyncio.sleep(random.uniform(0, 0.01))
            return await ledger.settle(reservation, settled(30))

        async def sweeps() -> None:
            for _ in range(6):
                await ledger.sweep(most=20)
                await asyncio.sleep(random.uniform(0, 0.003))

        states, *_ = await asyncio.gather(
            asyncio.gather(*(late(reservation) for reservation in reservations)), sweeps(), sweeps()
        )
        assert set(states) == {"settled"}

    assert account(desk) == {
        "reserved_tokens": 0,
        "settled_tokens": 30_000,
        "reserved_micros": 0,
        "settled_micros": 30_000,
    }
    assert {event["state"] for event in events(desk)} == {"settled"}


async def test_heartbeats_sweeps_and_settlements_at_once_never_deadlock(desk: Desk) -> None:
    reservations = await asyncio.gather(*(desk.reserve(10) for _ in range(60)))

    async def beats() -> None:
        for _ in range(15):
            await ledger.heartbeat((one.event_id, one.month) for one in random.sample(reservations, 60))

    async def sweeps() -> None:
        for _ in range(15):
            await ledger.sweep()

    await asyncio.gather(beats(), beats(), sweeps(), *(ledger.settle(one, settled(1)) for one in reservations))

    assert account(desk)["settled_tokens"] == 60
