"""What counting says about one call, wherever it was counted."""

from datetime import datetime
from typing import NamedTuple

MINUTE = 60.0
LEASE_SECONDS = 60.0
ROUNDING = 1e-6  # of one request or token; a shorter wait is an artefact of arithmetic


class Allowance(NamedTuple):
    """What a family may use; a whole minute's worth may come at once."""

    requests: int
    tokens: int
    concurrent: int

    def share(self, processes: int) -> "Allowance":
        """Return one process's part, at least 1 of each."""
        return Allowance(
            requests=max(1, self.requests // processes),
            tokens=max(1, self.tokens // processes),
            concurrent=max(1, self.concurrent // processes),
        )


class Verdict(NamedTuple):
    """The state after the decision, in seconds: how far use is ahead of the rate, and how long this call would wait."""

    is_admitted: bool
    at: datetime
    running: int
    requests_ahead: float
    tokens_ahead: float
    requests_wait: float
    tokens_wait: float
