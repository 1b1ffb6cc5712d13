"""The breaker, with a clock that the test turns."""

from tenants.breaker import Breaker
from tests.tenants.test_local_limits import Clock


def test_three_failures_in_a_row_open_it_and_a_success_starts_the_count_again() -> None:
    breaker = Breaker("test", monotonic=Clock())
    for _ in range(2):
        breaker.failed(ConnectionRefusedError())
    breaker.worked()
    breaker.failed(ConnectionRefusedError())
    breaker.failed(ConnectionRefusedError())
    assert breaker.admits()

    breaker.failed(ConnectionRefusedError())

    assert not breaker.admits()


def test_one_timeout_opens_it_and_one_probe_at_a_time_tries_again() -> None:
    clock = Clock()
    breaker = Breaker("test", monotonic=clock)
    breaker.failed(TimeoutError())
    assert not breaker.admits()

    clock.seconds += 1.3

    assert [breaker.admits() for _ in range(3)] == [True, False, False]
    breaker.worked()
    assert [breaker.admits() for _ in range(3)] == [True, True, True]


def test_failed_probes_wait_longer_up_to_five_seconds() -> None:
    clock = Clock()
    breaker = Breaker("test", monotonic=clock)
    breaker.failed(TimeoutError())
    pauses = []
    for _ in range(5):
        pauses.append(breaker.seconds_to_probe())
        clock.seconds += pauses[-1]
        assert breaker.admits()
        breaker.failed(TimeoutError())

    for pause, nominal in zip(pauses, (1, 2, 4, 5, 5), strict=True):
        assert 0.8 * nominal <= pause <= 1.2 * nominal


def test_a_probe_that_never_reports_counts_as_failed() -> None:
    clock = Clock()
    breaker = Breaker("test", monotonic=clock)
    breaker.failed(TimeoutError())
    clock.seconds += 2
    assert breaker.admits()

    with breaker.watched():
        pass

    assert not breaker.admits()
    clock.seconds += 5
    assert breaker.admits()
