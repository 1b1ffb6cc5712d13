"""I3 and I4 against the books of who answered: one event for each upstream call, one call for each event, equal usage."""

import json
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from kit.errors import InvalidRequest
from usage.models import UsageEvent
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


def read(source: str) -> list[Line]:
    """This function will read an emulator's journal from a file or from its URL. Raises `InvalidRequest`.

    A file has a line when a call begins and another when it ends: the later one counts.
    """
    try:
        if source.startswith(("http://", "https://")):
            address = source if "journal" in source else source.rstrip("/") + "/_emulator/journal"
            with urllib.request.urlopen(address, timeout=_SECONDS) as answer:  # noqa: S310 - the scheme was looked at
                raw = answer.read()
        else:
            raw = Path(source).read_bytes()
        lines = [_line(json.loads(text)) for text in raw.splitlines() if text.strip()]
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise InvalidRequest(f"The journal {source} cannot be read: {fault}") from fault
    return list({line.seq: line for line in lines}.values())


def _line(record: dict[str, Any]) -> Line:
    usage = {name: int(record["usage"][name]) for name in _CLASSES}
    try:
        reference = UUID(record.get("client_reference") or "")
    except ValueError:
        reference = None
    return Line(seq=int(record["seq"]), reference=reference, usage=usage)


def compare(report: Report, lines: list[Line]) -> None:
    """This function will hold every closed event against the journal, and every line of it against the events."""
    events = {event.id: event for event in UsageEvent.objects.all()}
    calls: dict[UUID, list[Line]] = {}
    findings = []
    for line in lines:
        if line.reference in events and line.reference is not None:
            calls.setdefault(line.reference, []).append(line)
        else:
            findings.append(_finding(f"journal line {line.seq}", f"has no event (reference {line.reference})"))
    for event in events.values():
        findings += _faults(event, calls.get(event.id, []))
    report.add("I3 journal", rows=len(lines), findings=findings)


def _faults(event: UsageEvent, calls: list[Line]) -> list[Finding]:
    subject = f"event {event.tenant_id}/{event.number} ({event.id})"
    if len(calls) > 1:
        places = ", ".join(str(line.seq) for line in calls)
        return [_finding(subject, f"stands for {len(calls)} upstream calls: journal lines {places}")]
    if not calls:
        is_unmade = event.state == "settled" and event.purpose != _CACHED
        return [_finding(subject, "is settled without an upstream call")] if is_unmade else []
    if event.purpose == _CACHED:
        return [_finding(subject, f"was served from the cache, and journal line {calls[0].seq} is a call for it")]
    return [_finding(subject, fault) for fault in _differences(event, calls[0])]


def _differences(event: UsageEvent, call: Line) -> list[str]:
    if event.state == "settled":
        return [
            f"{name} is {getattr(event, name)}, journal line {call.seq} says {call.usage[name]}"
            for name in _CLASSES
            if getattr(event, name) != call.usage[name]
        ]
    if event.state == "released":
        return [f"is released though journal line {call.seq} billed {call.total} tokens"]
    if event.state == "estimated" and event.charged_tokens < call.total:
        return [f"is estimated at {event.charged_tokens} tokens, below the {call.total} of journal line {call.seq}"]
    return []


def _finding(subject: str, fault: str) -> Finding:
    return Finding("I3 journal", subject, fault)
