"""Faults on demand: registered for the next requests, or written into a request's own text."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from emulator.refusals import Refused, invalid

Json = dict[str, Any]

REFUSALS = {
    "http_400": (400, "The request was malformed."),
    "http_401": (401, "invalid x-api-key"),
    "http_403": (403, "Your API key does not have permission to use the specified resource."),
    "http_404": (404, "The requested resource could not be found."),
    "http_413": (413, "Request exceeds the maximum size"),
    "http_429": (429, "This request would exceed your organization's rate limit."),
    "http_500": (500, "Internal server error"),
    "http_529": (529, "Overloaded"),
}
# What happens to an answer under way, after some chunks of it.
BREAKS = frozenset({"drop", "hangup", "truncate", "error_event", "malformed_json", "silence"})
_OTHERS = frozenset({"html_502", "reset", "slow", "usage_missing", "usage_absurd", "latency", "refusal", "expired"})
KINDS = frozenset(REFUSALS) | BREAKS | _OTHERS
_INLINE_ONLY = frozenset({"words", "chunk_ms"})
_MARK = b"[[emulator:"
_INLINE = re.compile(rb"\[\[emulator:([a-z0-9_]{1,20})(?::([^\[\]\s\"\\]{0,40}))?\]\]")
_NUMBER = re.compile(r"\d{1,9}(\.\d{1,6})?", re.ASCII)
_MESSAGES = "/v1/messages"


@dataclass(slots=True)
class Fault:
    """One registered fault and how often it may still strike."""

    kind: str
    count: int | None = None
    probability: float = 1.0
    seed: int = 0
    marker: str | None = None
    models: tuple[str, ...] = ()
    after_chunks: int | None = None
    retry_after: float | None = None
    path: str = _MESSAGES
    seconds: float | None = None
    shape: str | None = None
    seen: int = 0

    def strikes(self, raw: bytes, *, path: str, model: str) -> bool:
        """Tell whether the fault strikes this request, and count it if so."""
        if self.count == 0 or path != self.path or (self.models and model not in self.models):
            return False
        if self.marker is not None and not _contains(raw, self.marker):
            return False
        self.seen += 1
        if self.probability < 1 and _draw(self.seed, self.seen) >= self.probability:
            return False
        if self.count is not None:
            self.count -= 1
        return True

    def describe(self) -> Json:
        """Return the fault as `GET /_emulator/faults` lists it."""
        shown = {name: getattr(self, name) for name in self.__slots__ if name not in ("count", "seen")}
        return {**shown, "models": list(self.models), "remaining": self.count}


@dataclass(slots=True)
class Plan:
    """What is to happen to one request."""

    fault: Fault | None = None
    latency: float = 0.0
    words: int | None = None
    chunk_ms: float | None = None

    @property
    def kind(self) -> str:
        """The kind of the fault, or nothing."""
        return self.fault.kind if self.fault else ""

    @property
    def breaks_after(self) -> int | None:
        """After how many chunks the answer breaks, if it does."""
        if self.fault is None or self.fault.kind not in BREAKS:
            return None
        default = 0 if self.fault.kind == "silence" else 2
        return default if self.fault.after_chunks is None else self.fault.after_chunks

    def refuse(self) -> None:
        """Raise the refusal that the plan holds, if it holds one."""
        if self.fault is None or self.fault.kind not in REFUSALS:
            return
        status, message = REFUSALS[self.fault.kind]
        seconds = self.fault.retry_after
        wait = f"retry-after: {1 if seconds is None else seconds:g}\r\n" if status == 429 or seconds else ""
        raise Refused(status, message, headers=wait.encode())


class Faults:
    """The registered faults, in the order of their registration."""

    def __init__(self) -> None:
        self.registered: list[Fault] = []

    def register(self, wish: object) -> Fault:
        """Add a fault from the JSON that describes it."""
        fault = _read(wish)
        self.registered.append(fault)
        return fault

    def plan(self, raw: bytes, *, path: str, model: str = "") -> Plan:
        """Return what is to happen to a request: its first fault, and every latency that applies."""
        plan = Plan()
        inline = _inline(raw, plan) if _MARK in raw else []
        for fault in (*inline, *self.registered):
            if plan.fault is not None and fault.kind != "latency":
                continue
            if not fault.strikes(raw, path=path, model=model):
                continue
            if fault.kind == "latency":
                plan.latency += 1.0 if fault.seconds is None else fault.seconds
            else:
                plan.fault = fault
        return plan


def _inline(raw: bytes, plan: Plan) -> list[Fault]:
    found = []
    for name, argument in _INLINE.findall(raw):
        kind, text = name.decode(), argument.decode("latin-1")
        if kind in _INLINE_ONLY:
            _set(plan, kind, _number(text))
        elif kind in KINDS:
            found.append(_with_argument(kind, text))
    return found


def _set(plan: Plan, kind: str, number: float | None) -> None:
    if number is None:
        return
    if kind == "words":
        plan.words = min(int(number), 1_000_000)
    else:
        plan.chunk_ms = min(number, 600_000)


def _with_argument(kind: str, text: str) -> Fault:
    number = _number(text)
    if kind in BREAKS:
        return Fault(kind, after_chunks=None if number is None else int(number))
    if kind in ("latency", "slow"):
        return Fault(kind, seconds=number)
    if kind.startswith("http_"):
        return Fault(kind, retry_after=number)
    return Fault(kind, shape=text or None)


def _number(text: str) -> float | None:
    return float(text) if _NUMBER.fullmatch(text) else None


def _contains(raw: bytes, marker: str) -> bool:
    escaped = json.dumps(marker)[1:-1].encode()
    return escaped in raw or json.dumps(marker, ensure_ascii=False)[1:-1].encode("utf-8", "replace") in raw


def _draw(seed: int, turn: int) -> float:
    """Return a number in [0, 1) that depends on the seed and the turn alone."""
    digest = hashlib.sha256(f"{seed}:{turn}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


_FIELDS: dict[str, tuple[type, ...]] = {
    "kind": (str,),
    "count": (int,),
    "probability": (int, float),
    "seed": (int,),
    "marker": (str,),
    "models": (list,),
    "after_chunks": (int,),
    "retry_after": (int, float),
    "path": (str,),
    "seconds": (int, float),
    "shape": (str,),
}


def _read(wish: object) -> Fault:
    if not isinstance(wish, dict) or wish.get("kind") not in KINDS:
        raise invalid(f"kind: Input should be one of {sorted(KINDS)}")
    given = {name: value for name, value in wish.items() if value is not None}
    for name, value in given.items():
        if name not in _FIELDS:
            raise invalid(f"{name}: Extra inputs are not permitted")
        if not isinstance(value, _FIELDS[name]) or isinstance(value, bool):
            raise invalid(f"{name}: Input has the wrong type")
        if isinstance(value, int | float) and name != "seed" and not 0 <= value <= 1e9:
            raise invalid(f"{name}: Input should be between 0 and 1000000000")
    if "models" in given:
        given["models"] = tuple(map(str, given["models"]))
    return Fault(**given)
