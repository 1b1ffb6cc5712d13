"""Counts requests by path and status, and how many are in flight."""

from __future__ import annotations

from collections import Counter
from typing import Any


class Stats:
    """The counters of one process."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.in_flight = 0
        self.peak_in_flight = 0

    def enter(self) -> None:
        """Count a request in."""
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)

    def leave(self, path: str, *, status: int) -> None:
        """Count a request out; status 0 is a connection that ended without an answer."""
        self.in_flight -= 1
        self.requests[path, status] += 1

    def reset(self) -> None:
        """Start again from what is in flight."""
        self.requests.clear()
        self.peak_in_flight = self.in_flight

    def describe(self) -> dict[str, Any]:
        """Return the counters as `GET /_emulator/stats` shows them."""
        by_path: dict[str, dict[str, int]] = {}
        for (path, status), count in sorted(self.requests.items()):
            by_path.setdefault(path, {})[str(status)] = count
        return {"requests": by_path, "in_flight": self.in_flight, "peak_in_flight": self.peak_in_flight}
