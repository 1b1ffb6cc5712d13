"""The one place that reads the time. Entry points call it and pass `now` down."""

import time
from datetime import UTC, datetime


def now() -> datetime:
    """Return the current instant, in UTC."""
    return datetime.fromtimestamp(time.time(), tz=UTC)


monotonic = time.monotonic
"""Return seconds on a clock that never goes back, for durations."""
