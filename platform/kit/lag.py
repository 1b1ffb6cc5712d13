"""How late the event loop is: what every request waits for on top of its own work."""

import asyncio

from prometheus_client import Histogram

from kit import clock, loops

LAG = Histogram(
    "skillgate_event_loop_lag_seconds",
    "How much later than asked a task of the event loop runs.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)
EVERY_SECONDS = 0.25


def watch() -> asyncio.Task[None]:
    """Measure the running loop until it closes or the task is cancelled."""
    return loops.start(_watch(), name="event loop lag")


async def _watch() -> None:
    while True:
        asked = clock.monotonic() + EVERY_SECONDS
        await asyncio.sleep(EVERY_SECONDS)
        LAG.observe(max(0.0, clock.monotonic() - asked))
