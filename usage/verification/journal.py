"""I3 and I4 against the books of who answered: one event for each upstream call, one call for each event, equal usage.

The lines are put into a temporary table and compared there, as a stream: memory stays flat however many they are.
"""

import json
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from django.db import connection

from kit.errors import InvalidRequest
from usage.rows import fetch, stream
from usage.verification.findings import Finding, Report

_CLASSES = (
    "input_tokens",
    "output_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "cache_read_tokens",
)
_SECONDS = 30
_CACHED = "cached"


@dataclass(frozen=True, slots=True)
class Line:
    """One billed call: its place in the journal, the event it was made for (if it says so), and what it used."""

    seq: int
    reference: UUID | None
    usage: dict[str, int]

    @property
    def total(self) -> int:
        """All tokens of the call."""
        return sum(self.usage[name] for name in _CLASSES)


def read(source: str) -> Iterator[Line]:
    """Read an emulator's journal from a file or from its URL, line by line. Raises `InvalidRequest`.

    A file has a line when a call begins and another when it ends: `compare` lets the later one count.
    """
    try:
        for text in _texts(source):
            if text.strip():
                yield _line(json.loads(text))
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise InvalidRequest(f"The journal {source} cannot be read: {fault}") from fault


def _texts(source: str) -> Iterator[bytes]:
    if source.startswith(("http://", "https://")):
        address = source if "journal" in source else source.rstrip("/") + "/_emulator/journal"
        with urllib.request.urlopen(address, timeout=_SECONDS) as answer:  # noqa: S310 - the scheme was looked at
            yield from answer
    else:
        with Path(source).open("rb") as file:
            yield from file


def _line(record: dict[str, Any]) -> Line:
    usage = {name: int(record["usage"][name]) for name in _CLASSES}
    try:
        reference = UUID(record.get("client_reference") or "")
    except ValueError:
        reference = None
    return Line(seq=int(record["seq"]), reference=reference, usage=usage)


def prepare(lines: Iterable[Line]) -> None:
    """Put a journal's lines where `compare` finds them: in a table of this connection alone."""
    connection.ensure_connection()
    inner: Any = connection.connection
    with inner.cursor() as cursor:
        cursor.execute(_TABLE)
        with cursor.copy(f"COPY usage_journal (place, seq, reference, {', '.join(_CLASSES)}) FROM STDIN") as copy:
            for place, line in enumerate(lines):
                copy.write_row((place, line.seq, line.reference, *(line.usage[name] for name in _CLASSES)))
        cursor.execute(_NEWEST)


def compare(report: Report) -> None:
    """Hold every closed event against the journal, and every line of it against the events."""
    findings = [
        _finding(f"journal line {row['seq']}", f"has no event (reference {row['reference']})")
        for row in fetch(_STRANGE)
    ]
    for row in stream(_DIFFERENT):
        findings += [
            _finding(f"event {row['tenant_id']}/{row['number']} ({row['id']})", fault) for fault in _faults(row)
        ]
    lines = fetch("SELECT count(*) AS lines FROM usage_journal")[0]["lines"]
    report.add("I3 journal", rows=lines, findings=findings)


def _faults(row: dict[str, Any]) -> list[str]:
    calls = row["calls"] or []
    if len(calls) > 1:
        return [f"stands for {len(calls)} upstream calls: journal lines {', '.join(map(str, calls))}"]
    if not calls:
        return (
            ["is settled without an upstream call"] if row["state"] == "settled" and row["purpose"] != _CACHED else []
        )
    if row["purpose"] == _CACHED:
        return [f"was served from the cache, and journal line {calls[0]} is a call for it"]
    return _differences(row, seq=calls[0])


def _differences(row: dict[str, Any], *, seq: int) -> list[str]:
    total = sum(row[f"j_{name}"] for name in _CLASSES)
    if row["state"] == "settled":
        return [
            f"{name} is {row[name]}, journal line {seq} says {row[f'j_{name}']}"
            for name in _CLASSES
            if row[name] != row[f"j_{name}"]
        ]
    if row["state"] == "released":
        return [f"is released though journal line {seq} billed {total} tokens"]
    if row["state"] == "estimated" and row["charged_tokens"] < total:
        return [f"is estimated at {row['charged_tokens']} tokens, below the {total} of journal line {seq}"]
    return []


def _finding(subject: str, fault: str) -> Finding:
    return Finding("I3 journal", subject, fault)


_SUMS = ", ".join(f"sum({name})::bigint AS j_{name}" for name in _CLASSES)
_TABLE = f"""
DROP TABLE IF EXISTS usage_journal;
CREATE TEMPORARY TABLE usage_journal (place bigint, seq bigint, reference uuid, {", ".join(f"{name} bigint" for name in _CLASSES)})
"""
# Of the lines of one call the last counts.
_NEWEST = """
DELETE FROM usage_journal j WHERE EXISTS (SELECT 1 FROM usage_journal n WHERE n.seq = j.seq AND n.place > j.place);
ANALYZE usage_journal
"""
_STRANGE = """
SELECT j.seq, j.reference FROM usage_journal j
WHERE j.reference IS NULL OR NOT EXISTS (SELECT 1 FROM usage_event e WHERE e.id = j.reference) ORDER BY j.seq
"""
# What cannot be a fault is left out here already; `_faults` says what the rest is.
_DIFFERENT = f"""
SELECT e.tenant_id, e.number, e.id, e.state, e.purpose, e.charged_tokens, {", ".join(f"e.{name}" for name in _CLASSES)}, j.*
FROM usage_event e LEFT JOIN (
    SELECT reference, array_agg(seq ORDER BY seq) AS calls, {_SUMS} FROM usage_journal WHERE reference IS NOT NULL GROUP BY reference
) j ON j.reference = e.id
WHERE e.state <> 'open' OR cardinality(j.calls) > 1
ORDER BY e.tenant_id, e.number
"""  # noqa: S608 - the names are ours
