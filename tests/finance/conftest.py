"""The desk at the ledger, as the ledger's own tests have it."""

from tests.usage.conftest import SetClock, _usual_batches, desk, prices, set_clock

__all__ = ["SetClock", "_usual_batches", "desk", "prices", "set_clock"]
