"""What a process expects of the room under a key's limits, before it has asked."""

from datetime import UTC, datetime

from tenants.limits.decisions import Decision, Window
from tenants.limits.room import Rooms

FAMILY = 7


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def left(*, requests: int = 100, tokens: int = 1000, concurrent: int = 100) -> Decision:
    """Make a decision that leaves so much."""
    return Decision(
        requests=Window(100, requests, 0.0),
        tokens=Window(1000, tokens, 0.0),
        concurrent=Window(100, concurrent, 0.0),
        at=datetime(2026, 3, 1, tzinfo=UTC),
        source="shared",
    )


def test_of_a_family_that_was_not_heard_of_nothing_is_expected() -> None:
    rooms = Rooms()
    rooms.note(FAMILY, left())

    assert not rooms.take(FAMILY + 1, tokens=1)


def test_half_of_what_is_left_of_each_limit_is_expected() -> None:
    for few in ({"requests": 6}, {"concurrent": 6}, {"tokens": 60}):
        rooms = Rooms()
        rooms.note(FAMILY, left(**few))

        assert [rooms.take(FAMILY, tokens=10) for _ in range(5)] == [True, True, True, False, False]


def test_what_the_limits_say_next_takes_the_place_of_what_was_expected() -> None:
    rooms = Rooms()
    rooms.note(FAMILY, left(requests=2))
    taken = [rooms.take(FAMILY, tokens=1), rooms.take(FAMILY, tokens=1)]

    rooms.note(FAMILY, left(requests=2))

    assert [*taken, rooms.take(FAMILY, tokens=1)] == [True, False, True]


def test_old_news_is_no_news() -> None:
    clock = Clock()
    rooms = Rooms(monotonic=clock)
    rooms.note(FAMILY, left())

    clock.now += 9.9
    assert rooms.take(FAMILY, tokens=1)
    clock.now += 0.2
    assert not rooms.take(FAMILY, tokens=1)


def test_who_only_looks_takes_no_part_of_the_room() -> None:
    for few in ({"requests": 2}, {"concurrent": 2}, {"tokens": 20}):
        rooms = Rooms()
        rooms.note(FAMILY, left(**few))

        assert rooms.has(FAMILY, tokens=10)
        assert rooms.has(FAMILY, tokens=10)
        assert rooms.take(FAMILY, tokens=10)
        assert not rooms.has(FAMILY, tokens=10)


def test_what_is_remembered_is_bounded_and_the_oldest_goes_first() -> None:
    rooms = Rooms()
    for family_id in range(10_001):
        rooms.note(family_id, left())

    assert not rooms.take(0, tokens=1)
    assert rooms.take(1, tokens=1)
