"""Counting in one process: the same rules, with a clock that the test turns."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from tenants.limits.local import Shares
from tenants.limits.verdicts import Allowance

START = datetime(2026, 3, 1, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def shares(clock: Clock) -> Shares:
    return Shares(monotonic=clock, now=lambda: START)


calls = st.lists(st.tuples(st.floats(0, 30), st.integers(0, 80), st.booleans()), max_size=60)


@given(calls, st.integers(1, 40), st.integers(1, 100))
def test_admitted_never_exceeds_burst_plus_rate_times_time(
    steps: list[tuple[float, int, bool]], requests: int, tokens: int
) -> None:
    clock = Clock()
    counting = shares(clock)
    allowance = Allowance(requests, tokens, concurrent=1000)
    admitted: list[tuple[float, int]] = []

    for number, (pause, cost, _) in enumerate(steps):
        clock.seconds += pause
        verdict = counting.take(1, allowance=allowance, tokens=cost, call_id=str(number))
        fits_in_every_window = all(
            1 + sum(1 for at, _ in admitted if at >= since) <= requests + (clock.seconds - since) * requests / 60 + 1e-4
            and cost + sum(c for at, c in admitted if at >= since)
            <= tokens + (clock.seconds - since) * tokens / 60 + 1e-4
            for since in [at for at, _ in admitted] + [clock.seconds]
        )
        if verdict.is_admitted:
            admitted.append((clock.seconds, cost))
            assert fits_in_every_window
        elif not admitted:
            assert cost > tokens


@given(calls)
def test_a_refused_call_changes_nothing_and_a_wait_as_told_is_enough(steps: list[tuple[float, int, bool]]) -> None:
    clock = Clock()
    counting = shares(clock)
    allowance = Allowance(5, 100, concurrent=1000)

    for number, (pause, cost, does_wait) in enumerate(steps):
        clock.seconds += pause
        first = counting.take(1, allowance=allowance, tokens=cost, call_id=str(number))
        if first.is_admitted:
            continue
        again = counting.take(1, allowance=allowance, tokens=cost, call_id=str(number))
        assert again == first
        if does_wait:
            clock.seconds += max(first.requests_wait, first.tokens_wait)
            assert counting.take(1, allowance=allowance, tokens=cost, call_id=str(number)).is_admitted


def test_finish_gives_back_no_more_than_was_charged_and_once() -> None:
    counting = shares(Clock())
    allowance = Allowance(10, 100, concurrent=2)
    counting.take(1, allowance=allowance, tokens=60, call_id="a")
    counting.take(1, allowance=allowance, tokens=40, call_id="b")

    back = [counting.finish(1, allowance=allowance, tokens=1000, requests=0, call_id="a") for _ in range(2)]

    assert back == [60, 0]
    assert not counting.take(1, allowance=allowance, tokens=61, call_id="c").is_admitted
    assert counting.take(1, allowance=allowance, tokens=60, call_id="c").is_admitted


def test_a_lease_ends_after_a_minute_unless_it_is_renewed() -> None:
    clock = Clock()
    counting = shares(clock)
    allowance = Allowance(100, 100, concurrent=2)
    counting.take(1, allowance=allowance, tokens=1, call_id="kept")
    counting.take(1, allowance=allowance, tokens=1, call_id="lost")
    assert not counting.take(1, allowance=allowance, tokens=1, call_id="early").is_admitted

    clock.seconds += 40
    counting.renew(1, "kept")
    clock.seconds += 40
    admitted = counting.take(1, allowance=allowance, tokens=1, call_id="late")

    assert admitted.is_admitted
    assert admitted.running == 2


def test_a_share_is_never_nothing() -> None:
    assert Allowance(10, 3, concurrent=1).share(4) == Allowance(2, 1, 1)
