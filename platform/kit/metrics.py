"""Prometheus' metrics for what every request counts: theirs ask each time whether labels were forgotten."""

from bisect import bisect_left
from typing import Any

import prometheus_client


class Counter(prometheus_client.Counter):
    """A count that only grows."""

    def inc(self, amount: float = 1, exemplar: Any = None) -> None:
        """Add to it."""
        self._value.inc(amount)


class Gauge(prometheus_client.Gauge):
    """A number that goes up and down."""

    def inc(self, amount: float = 1) -> None:
        """Add to it."""
        self._value.inc(amount)

    def dec(self, amount: float = 1) -> None:
        """Take from it."""
        self._value.inc(-amount)


class Histogram(prometheus_client.Histogram):
    """How often a number was how large."""

    def observe(self, amount: float, exemplar: Any = None) -> None:
        """Take in a number."""
        self._sum.inc(amount)
        self._buckets[bisect_left(self._upper_bounds, amount)].inc(1)
