"""What one emulator remembers: its pace, its journal, its faults, its batches."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from emulator.caching import PromptCache
from emulator.faults import Faults
from emulator.journal import Journal
from emulator.stats import Stats

Json = dict[str, Any]

BATCHES = "/v1/messages/batches"
_OUTCOMES = ("processing", "succeeded", "errored", "canceled", "expired")
_RUN = secrets.token_hex(5)
_NUMBERS = itertools.count(1)


@dataclass(slots=True)
class Batch:
    """One batch; `results` grows as it is worked on, in an order that promises nothing."""

    id: str
    key_digest: str
    requests: list[Json]
    created_at: datetime
    results: dict[str, Json] = field(default_factory=dict)
    cancelled_at: datetime | None = None
    is_cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    ended_at: datetime | None = None

    def describe(self, *, base: str) -> Json:
        """Return the batch as the API shows it."""
        counts = dict.fromkeys(_OUTCOMES, 0)
        counts["processing"] = len(self.requests) - len(self.results)
        for result in self.results.values():
            counts[result["type"]] += 1
        status = "ended" if self.ended_at else "canceling" if self.cancelled_at else "in_progress"
        return {
            "id": self.id,
            "type": "message_batch",
            "processing_status": status,
            "request_counts": counts,
            "created_at": self.created_at.isoformat(),
            "expires_at": (self.created_at + timedelta(days=1)).isoformat(),
            "ended_at": self.ended_at.isoformat() if self.ended_at else None,
            "cancel_initiated_at": self.cancelled_at.isoformat() if self.cancelled_at else None,
            "archived_at": None,
            "results_url": f"{base}{BATCHES}/{self.id}/results" if self.ended_at else None,
        }


@dataclass(slots=True)
class Settings:
    """The pace of the emulator, which may be changed while it runs."""

    latency_ms: float = 0.0
    chunk_ms: float = 0.0
    chunk_words: int = 4
    batch_ms: float = 0.0


@dataclass(slots=True)
class State:
    """All that one emulator remembers."""

    settings: Settings = field(default_factory=Settings)
    journal: Journal = field(default_factory=Journal)
    faults: Faults = field(default_factory=Faults)
    cache: PromptCache = field(default_factory=PromptCache)
    stats: Stats = field(default_factory=Stats)
    batches: dict[str, Batch] = field(default_factory=dict)


def identity(prefix: str) -> str:
    """Return an id that no other request of any run has."""
    return f"{prefix}_01{_RUN}{next(_NUMBERS):012x}"


@lru_cache(maxsize=1024)
def key_digest(key: str) -> str:
    """Return the first 12 hexadecimal digits of the key's SHA-256."""
    return hashlib.sha256(key.encode("latin-1", "replace")).hexdigest()[:12]
