"""Frames: the numbered pieces of a stream as they go over the wire."""

from collections.abc import Iterable
from typing import NamedTuple


class Frame(NamedTuple):
    """One event as server-sent bytes; numbers start at 1 and have no gap; the last one ends the stream."""

    number: int
    content: bytes
    is_last: bool = False


DONE = b"data: [DONE]\n\n"


def whole(frames: Iterable[Frame]) -> bytes:
    """Put frames together to what a client reads."""
    return b"".join(frame.content for frame in frames)
