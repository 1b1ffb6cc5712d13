"""The books of the emulator: every call that it billed, kept in memory and, if asked, in a file."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from emulator.caching import Consumed

Json = dict[str, Any]
RUNNING = "running"
KILLED = "killed"


@dataclass(slots=True)
class Entry:
    """One billed call; `running` until it is closed."""

    seq: int
    at: str
    request_id: str
    model: str
    key_digest: str
    stream: bool
    usage: dict[str, int]
    outcome: str = RUNNING
    user_id: str | None = None
    client_reference: str | None = None
    service_tier: str = "standard"
    betas: str = ""

    def record(self) -> Json:
        """Return the entry as it is written."""
        return {name: getattr(self, name) for name in self.__slots__}


class Journal:
    """Appends entries; a file, if there is one, holds a line when a call starts and another when it is closed."""

    def __init__(self, path: Path | None = None) -> None:
        self.entries: dict[int, Entry] = {}
        self._next = 1
        self._file: int | None = None
        if path is not None:
            self._load(path)
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def start(self, *, consumed: Consumed, output_tokens: int, **known: Any) -> Entry:
        """Open the books for a call that is billed from now on."""
        spent = {
            "input_tokens": consumed.input_tokens,
            "output_tokens": output_tokens,
            "cache_write_5m_tokens": consumed.write_5m,
            "cache_write_1h_tokens": consumed.write_1h,
            "cache_read_tokens": consumed.read,
        }
        entry = Entry(seq=self._next, usage=spent, **known)
        self._next += 1
        self.entries[entry.seq] = entry
        self._append("started", entry)
        return entry

    def close(self, entry: Entry, *, outcome: str, output_tokens: int) -> None:
        """Close a call with what was generated; closing it again changes nothing."""
        if entry.outcome != RUNNING:
            return
        entry.outcome = outcome
        entry.usage["output_tokens"] = output_tokens
        self._append("closed", entry)

    def lines(self, *, since: int = 0) -> bytes:
        """Return the entries after a sequence number, one JSON a line."""
        return b"".join(_line(entry.record()) for seq, entry in self.entries.items() if seq > since)

    def clear(self) -> None:
        """Forget every entry, in the file too; numbers go on."""
        self.entries.clear()
        if self._file is not None:
            os.ftruncate(self._file, 0)

    def _append(self, event: str, entry: Entry) -> None:
        if self._file is not None:
            # One write to the kernel per line: it outlives this process, however it ends.
            os.write(self._file, _line({"event": event, **entry.record()}))

    def _load(self, path: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            for line in path.read_bytes().splitlines():
                self._take(line)
        for entry in self.entries.values():
            if entry.outcome == RUNNING:
                entry.outcome = KILLED

    def _take(self, line: bytes) -> None:
        try:
            record = json.loads(line)
        except ValueError:
            return  # the torn last line of a machine that lost power
        record.pop("event", None)
        entry = Entry(**record)
        self.entries[entry.seq] = entry
        self._next = max(self._next, entry.seq + 1)


def _line(record: Json) -> bytes:
    return json.dumps(record).encode() + b"\n"
