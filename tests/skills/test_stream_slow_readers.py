"""Readers that stop reading cost bounded memory and delay nobody."""

import time
from collections.abc import Iterator

import pytest

from tests.live import Live
from tests.skills.listening import COMPLETE, SUMMARIZE, connect, listen, text_input

_READERS = 100
_MEBIBYTE = 1024 * 1024


@pytest.mark.parametrize("is_resumable", [False, True])
def test_a_hundred_readers_that_stop_cost_less_than_fifty_megabytes(live: Live, is_resumable: bool) -> None:
    # Unread, the long answers would be some 70 MB; a recorded run goes on at full speed, so its answers are shorter.
    words = 3_000 if is_resumable else 20_000
    body = {"input": {"prompt": f"Tell. [[emulator:words:{words}]]"}, "max_tokens": 32_000, "resumable": is_resumable}
    alone = listen(live, SUMMARIZE, text_input(words=40))
    before = live.server.memory()

    stopped = [connect(live, COMPLETE, body, receive_buffer=4096) for _ in range(_READERS)]
    peak = max(_memory_while(live, seconds=14))
    began = time.monotonic()
    other = listen(live, SUMMARIZE, text_input(words=40))
    took = time.monotonic() - began
    waiting = sum(event["state"] == "open" for event in live.events())
    for client in stopped:
        client.close()

    assert peak - before < 50 * _MEBIBYTE, f"grew by {(peak - before) / _MEBIBYTE:.0f} MB"
    assert other.text == alone.text
    assert took < 1.0
    assert waiting == (0 if is_resumable else _READERS)


def _memory_while(live: Live, *, seconds: float) -> Iterator[int]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield live.server.memory()
        time.sleep(0.05)
