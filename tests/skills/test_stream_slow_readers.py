"""Readers that stop reading cost bounded memory and delay nobody."""

import time
from collections.abc import Iterator

import pytest

from tests.live import Live, Program
from tests.skills.listening import COMPLETE, SUMMARIZE, connect, listen, text_input

_READERS = 100
_FIRST_STREAMS = 20
_MEBIBYTE = 1024 * 1024


@pytest.mark.parametrize("is_resumable", [False, True])
def test_a_hundred_readers_that_stop_cost_less_than_fifty_megabytes(
    live: Live, live_emulator: Program, is_resumable: bool
) -> None:
    # Unread, the long answers would be some 70 MB; a recorded run goes on at full speed, so its answers are shorter.
    words = 3_000 if is_resumable else 20_000
    body = {"input": {"prompt": f"Tell. [[emulator:words:{words}]]"}, "max_tokens": 32_000, "resumable": is_resumable}
    for _ in range(_FIRST_STREAMS):  # what a process needs once is not what a reader costs
        listen(live, SUMMARIZE, text_input(words=40))
    before = live.server.memory()

    stopped = [connect(live, COMPLETE, body, receive_buffer=4096) for _ in range(_READERS)]
    peak = max(_memory_until_calm(live.server, live_emulator))
    among_them = _quickest_of_three_streams(live)
    admitted = len(live.events())
    for client in stopped:
        client.close()
    live.closed_events(_FIRST_STREAMS + _READERS + 3, within=60)
    without_them = _quickest_of_three_streams(live)

    assert admitted == _FIRST_STREAMS + _READERS + 3
    assert peak - before < 50 * _MEBIBYTE, f"grew by {(peak - before) / _MEBIBYTE:.0f} MB"
    assert among_them < 3 * without_them + 0.5


def _quickest_of_three_streams(live: Live) -> float:
    """The quickest: what else the machine does may slow down one of them."""
    took = []
    for _ in range(3):
        began = time.monotonic()
        assert len(listen(live, SUMMARIZE, text_input(words=40)).text.split()) == 40
        took.append(time.monotonic() - began)
    return min(took)


def _memory_until_calm(server: Program, emulator: Program) -> Iterator[int]:
    """The server's memory as it goes, until neither program has had anything to do for two seconds."""
    deadline = time.monotonic() + 90
    calm = 0
    while calm < 2:
        assert time.monotonic() < deadline, "the server did not come to rest"
        used = server.cpu_seconds() + emulator.cpu_seconds()
        for _ in range(20):
            yield server.memory()
            time.sleep(0.05)
        calm = calm + 1 if server.cpu_seconds() + emulator.cpu_seconds() - used < 0.1 else 0
