"""Worker, timetable, Redis and Postgres are killed at random: all work ends well, nothing is paid twice, the books agree."""

import random
from collections.abc import Iterator

import pytest

from tests.analyses.mayhem import Mayhem, Plant, faults, settle

WAVES = 2


@pytest.fixture(scope="module")
def plant() -> Iterator[Plant]:
    """A platform that nothing else uses."""
    with Plant() as plant:
        yield plant


def test_whatever_is_killed_all_work_ends_and_no_step_is_paid_twice(plant: Plant) -> None:
    seed = random.randrange(1_000_000)
    mayhem = Mayhem(plant, seed=seed)
    work = []
    for _ in range(WAVES):
        work += mayhem.submit()
        mayhem.kill(times=2)

    ended = mayhem.finish(work)
    settle(plant, hasten=True)

    assert {one["state"] for one in ended} == {"succeeded"}, f"seed {seed}"
    assert sum(mayhem.killed.values()) == 2 * WAVES
    assert faults(plant) == [], f"seed {seed}"
    for one in ended:
        done = one["items"]["pending"] == 0 if one["type"] == "batch" else one["progress"]["percentage"] == 100
        assert done, one
