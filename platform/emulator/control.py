"""The emulator's own endpoints: health, journal, statistics, faults and settings."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from emulator import validation
from emulator.refusals import Refused, invalid

if TYPE_CHECKING:
    from emulator.exchange import Exchange
    from emulator.state import State

Json = dict[str, Any]

PREFIX = "/_emulator/"
_NDJSON = b"content-type: application/x-ndjson\r\n"
_LIMITS = {"latency_ms": 600_000, "chunk_ms": 600_000, "chunk_words": 100_000, "batch_ms": 600_000}


async def answer(exchange: Exchange, state: State) -> None:
    """Answer a request under `/_emulator/`."""
    name = exchange.path.removeprefix(PREFIX)
    act = _ACTS.get((exchange.method, name))
    if act is None:
        raise Refused(405 if any(name == known for _, known in _ACTS) else 404, "No such endpoint of the emulator.")
    raw = await exchange.read()
    if name == "journal" and exchange.method == "GET":
        await exchange.respond(_journal(exchange, state), headers=_NDJSON)
        return
    result = act(state, validation.parse(raw) if exchange.method == "POST" else {})
    await exchange.respond(json.dumps(result).encode())


def _journal(exchange: Exchange, state: State) -> bytes:
    asked = parse_qs(exchange.query)
    since = asked.get("since", ["0"])[-1]
    if not (since.isascii() and since.isdigit() and len(since) < 16):
        raise invalid("since: Input should be a sequence number")
    return state.journal.lines(since=int(since))


def _health(state: State, body: Json) -> Json:
    del state, body
    return {"status": "ok"}


def _clear_journal(state: State, body: Json) -> Json:
    del body
    state.journal.clear()
    return {}


def _stats(state: State, body: Json) -> Json:
    del body
    return state.stats.describe()


def _clear_stats(state: State, body: Json) -> Json:
    del body
    state.stats.reset()
    return {}


def _faults(state: State, body: Json) -> Json:
    del body
    return {"faults": [fault.describe() for fault in state.faults.registered]}


def _add_fault(state: State, body: Json) -> Json:
    return state.faults.register(body).describe()


def _clear_faults(state: State, body: Json) -> Json:
    del body
    state.faults.registered.clear()
    return {"faults": []}


def _settings(state: State, body: Json) -> Json:
    del body
    return {name: getattr(state.settings, name) for name in _LIMITS}


def _change_settings(state: State, body: Json) -> Json:
    for name, value in body.items():
        if name not in _LIMITS:
            raise invalid(f"{name}: Extra inputs are not permitted")
        kinds = int if name == "chunk_words" else int | float
        if not isinstance(value, kinds) or isinstance(value, bool) or not 0 <= value <= _LIMITS[name]:
            raise invalid(f"{name}: Input should be a number from 0 to {_LIMITS[name]}")
    for name, value in body.items():
        setattr(state.settings, name, max(1, value) if name == "chunk_words" else value)
    return _settings(state, {})


_ACTS = {
    ("GET", "health"): _health,
    ("GET", "journal"): _health,
    ("DELETE", "journal"): _clear_journal,
    ("GET", "stats"): _stats,
    ("DELETE", "stats"): _clear_stats,
    ("GET", "faults"): _faults,
    ("POST", "faults"): _add_fault,
    ("DELETE", "faults"): _clear_faults,
    ("GET", "settings"): _settings,
    ("POST", "settings"): _change_settings,
}
