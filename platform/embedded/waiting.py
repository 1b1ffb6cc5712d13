"""Waiting for something to become true, while staying able to give up."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def nothing() -> None:
    """Do nothing: the pulse of a wait that is not to be interrupted."""


def until(
    condition: Callable[[], bool], *, seconds: float, pulse: Callable[[], None] = nothing, every: float = 0.05
) -> bool:
    """Ask again and again until the condition holds (True) or the time is up (False).

    `pulse` is called each time round and may raise to abandon the wait.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        pulse()
        if time.monotonic() >= deadline:
            return False
        time.sleep(every)
    return True
