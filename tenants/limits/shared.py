"""Counting in Redis: one script decides, by Redis's clock; calls that arrive together go in one round trip."""

from collections.abc import Awaitable
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from kit import loops
from kit.errors import Unavailable
from tenants.limits.verdicts import LEASE_SECONDS, Allowance, Verdict
from tenants.wire import Argument, Script, Trouble

__all__ = ["TROUBLE", "Trouble", "finish", "renew", "seconds_to_probe", "take"]
TROUBLE = (Trouble, Unavailable)
_LEASE = int(LEASE_SECONDS * 1_000_000)


async def take(family_id: int, *, allowance: Allowance, tokens: int, call_id: str) -> Verdict:
    """Decide about a call and charge it if admitted; raises `Trouble`."""
    answer = await _script.run(family_id, "take", call_id, tokens, *allowance, _LEASE)
    admitted, running, at, *seconds = answer.split()
    instant = datetime.fromtimestamp(float(at) / 1e6, tz=UTC)
    return Verdict(admitted != b"0", instant, int(running), *[float(micros) / 1e6 for micros in seconds])


def finish(family_id: int, *, allowance: Allowance, tokens: int, requests: int, call_id: str) -> Awaitable[Any]:
    """Send word that a call's lease ends and up to what it was charged is given back; what comes may be `TROUBLE`."""
    return _script.put(family_id, "finish", call_id, tokens, allowance.requests, allowance.tokens, requests)


async def renew(family_id: int, call_ids: list[str]) -> None:
    """Renew the leases of running calls, also of calls that Redis has lost or never knew."""
    await _script.run(family_id, "renew", _LEASE, *call_ids)


def seconds_to_probe() -> float:
    """Return how long it is until Redis is tried again; 0 while it works."""
    return _script.seconds_to_probe()


@lru_cache(maxsize=4_096)
def _keys(family_id: int) -> tuple[bytes, ...]:
    # One hash slot for a family, so that the script also runs on a cluster.
    return tuple(f"sg:lim:{{f:{family_id}}}:{part}".encode() for part in ("requests", "tokens", "leases", "charges"))


def _undo(family_id: int, order: tuple[Argument, ...], answer: Any) -> None:
    """Give back what was charged to a call that was cancelled meanwhile."""
    verb, *arguments = order
    if verb == "take" and answer.startswith(b"1 "):
        call_id, tokens, requests_limit, tokens_limit = arguments[:4]
        undo = _run_quietly(family_id, "finish", call_id, tokens, requests_limit, tokens_limit, 1)
        loops.start(undo, name="undo of a cancelled call")


async def _run_quietly(family_id: int, *arguments: Argument) -> None:
    try:
        await _script.run(family_id, *arguments)
    except Trouble:
        return


_script = Script(
    "rate limits",
    (Path(__file__).parent / "scripts.lua").read_text(),
    lane="limits",
    keys=_keys,
    abandoned=_undo,
)
