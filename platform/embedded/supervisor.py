"""Keeps a set of processes alive together, and ends them together."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from embedded import waiting
from embedded.child import Child, StartError

if TYPE_CHECKING:
    from collections.abc import Callable

    from embedded.warden import Warden

MOST_RESTARTS = 5
# While starting, what fails twice will fail again: say so soon.
MOST_RESTARTS_AT_START = 1
WINDOW_SECONDS = 60.0
FIRST_DELAY_SECONDS = 0.5


@dataclass(slots=True)
class _Restarts:
    """When one process was started again of late, and when it next will be."""

    at: list[float] = field(default_factory=list)
    due: float | None = None

    def recent(self, now: float) -> int:
        self.at = [moment for moment in self.at if now - moment < WINDOW_SECONDS]
        return len(self.at)


class Supervisor:
    """Starts processes tier by tier, restarts those that die, stops them in the opposite order.

    `pulse` is called all the time and ends everything by raising; `say` tells the person at the terminal.
    """

    def __init__(self, *, warden: Warden, pulse: Callable[[], None], say: Callable[[str], None]) -> None:
        self._warden = warden
        self._pulse = pulse
        self._say = say
        self._most_restarts = MOST_RESTARTS_AT_START
        self._tiers: list[tuple[Child, ...]] = []
        self._restarts: dict[Child, _Restarts] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def launch(self, *tier: Child) -> None:
        """Start the processes, which depend only on earlier tiers, and not wait for them."""
        self._tiers.append(tier)
        for child in tier:
            self._pulse()
            child.launch()
            self._restarts[child] = _Restarts()

    def run(self, child: Child, *, seconds: float) -> str:
        """Run a process to its end and return what it wrote; raises StartError."""
        try:
            return child.run(seconds=seconds, pulse=self._tend_all)
        finally:
            child.kill()

    def wait(self, ready: Callable[[], bool], *, seconds: float) -> bool:
        """Wait until it holds (True) or the time is up, keeping the processes alive meanwhile."""
        return waiting.until(ready, seconds=seconds, pulse=self._tend_all, every=0.1)

    def wait_ready(self, *, seconds: float = 60.0) -> None:
        """Wait until every process is ready; raises StartError naming the one that is not."""
        children = [child for tier in self._tiers for child in tier]
        if not self.wait(lambda: all(child.is_ready() for child in children), seconds=seconds):
            late = next(child for child in children if not child.is_ready())
            raise StartError(f"{late.name} is not ready after {seconds:.0f} s. The end of {late.log}:\n{late.tail()}")

    def watch(self) -> None:
        """Keep the processes alive until the pulse, or one that will not stay alive, ends it."""
        self._most_restarts = MOST_RESTARTS
        while True:
            self._tend_all()
            time.sleep(0.2)

    def close(self) -> None:
        """Stop every process, the last tier first, and whatever escaped their groups."""
        for tier in reversed(self._tiers):
            for child in tier:
                child.ask_to_stop()
            for child in tier:
                child.stop()
        self._tiers.clear()
        self._warden.sweep()

    def _tend_all(self) -> None:
        self._pulse()
        self._warden.check()
        for child, restarts in self._restarts.items():
            if not child.is_alive:
                self._tend(child, restarts)

    def _tend(self, child: Child, restarts: _Restarts) -> None:
        now = time.monotonic()
        if restarts.due is None:
            child.kill()  # What is left of its group must not work beside its successor.
            count = restarts.recent(now)
            if count >= self._most_restarts:
                raise StartError(f"{child.name} does not stay alive. The end of {child.log}:\n{child.tail()}")
            delay = FIRST_DELAY_SECONDS * 2**count
            restarts.due = now + delay
            self._say(f"{child.name} ended unexpectedly; it starts again in {delay:.1f} s. Log: {child.log}")
        elif now >= restarts.due:
            restarts.due = None
            restarts.at.append(now)
            child.launch()
