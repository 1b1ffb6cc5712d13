"""Hearing that it is time to stop: Ctrl-C, SIGTERM, a closed terminal, or the end of the `make` that started us."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import FrameType

_HEARD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequested(Exception):
    """It is time to stop."""


class Stop:
    """Remembers the wish to stop; `check` is the pulse of every wait.

    Raising from the signal's handler itself could strike between starting a process and noting its number.
    """

    def __init__(self, *, parent: int | None = None) -> None:
        self.is_requested = False
        self._parent = parent

    def __enter__(self) -> Self:
        self._before = {number: signal.getsignal(number) for number in _HEARD}
        for number in _HEARD:
            # Under nohup a closed terminal is no reason to stop.
            if number != signal.SIGHUP or self._before[number] != signal.SIG_IGN:
                signal.signal(number, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raise StopRequested once someone asked, or the parent that was named is gone."""
        if self._parent is not None and os.getppid() != self._parent:
            self.is_requested = True
        if self.is_requested:
            raise StopRequested

    def _hear(self, _number: int, _frame: FrameType | None) -> None:
        self.is_requested = True
