"""A breaker: after trouble nobody waits for the broken part; one call at a time finds out whether it is back."""

import asyncio
import logging
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from prometheus_client import Gauge

from kit import clock

logger = logging.getLogger(__name__)

OPEN = Gauge(
    "skillgate_breaker_open", "Whether a breaker keeps calls from a broken part.", ["part"], multiprocess_mode="livemax"
)

_MOST_FAILURES = 3
_SHORTEST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 5.0
_NOTHING: AbstractContextManager[None] = nullcontext()


class Breaker:
    """Closed, everything passes. It opens after three failures in a row, or at once after a timeout.

    Open, nothing passes for a second, then a single probe; each failed probe doubles the pause up
    to five seconds. Pauses are jittered, so that processes do not come back in step.
    """

    def __init__(self, name: str, *, monotonic: Callable[[], float] = clock.monotonic) -> None:
        self._name = name
        self._gauge = OPEN.labels(name)
        self._monotonic = monotonic
        self._failures = 0
        self._pause = _SHORTEST_PAUSE_SECONDS
        self._opens_at: float | None = None  # when the next probe may go; None while closed
        self._is_probing = False

    @property
    def is_ready(self) -> bool:
        """Whether an attempt would be admitted now."""
        return self._opens_at is None or (not self._is_probing and self._monotonic() >= self._opens_at)

    def admits(self) -> bool:
        """Tell whether to try; a True while open makes the caller the probe, so it must report."""
        if not self.is_ready:
            return False
        self._is_probing = self._opens_at is not None
        return True

    def watched(self) -> AbstractContextManager[None]:
        """Take a probe that ends without a report, such as a cancelled one, for a failed one."""
        return self._watched_probe() if self._is_probing else _NOTHING  # while open only the probe comes here

    @contextmanager
    def _watched_probe(self) -> Iterator[None]:
        try:
            yield
        finally:
            if self._is_probing:
                self._is_probing = False
                self._open()

    def worked(self) -> None:
        """Close the breaker."""
        if self._opens_at is not None:
            self._gauge.set(0)
            logger.info("%s: shared state is back", self._name)
        self._failures, self._pause, self._opens_at, self._is_probing = 0, _SHORTEST_PAUSE_SECONDS, None, False

    def failed(self, trouble: BaseException) -> None:
        """Count a failure."""
        self._failures += 1
        if self._opens_at is None:
            if self._failures >= _MOST_FAILURES or _is_timeout(trouble):
                logger.warning(
                    "%s: going on without shared state: %s", self._name, str(trouble) or type(trouble).__name__
                )
                self._open()
        elif self._is_probing:
            self._is_probing = False
            self._open()

    def seconds_to_probe(self) -> float:
        """Return how long it is until shared state is tried again."""
        return max(0.0, (self._opens_at or 0.0) - self._monotonic())

    def _open(self) -> None:
        self._gauge.set(1)
        jitter = random.uniform(0.8, 1.2)  # noqa: S311 - spreads processes, keeps no secret
        self._opens_at = self._monotonic() + self._pause * jitter
        self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)


def _is_timeout(trouble: BaseException) -> bool:
    return isinstance(trouble, (TimeoutError, asyncio.TimeoutError)) or "timeout" in type(trouble).__name__.lower()
