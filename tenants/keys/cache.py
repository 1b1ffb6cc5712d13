"""Good keys seen in the last seconds, by fingerprint, in this process.

It spares the database a look for each call of a busy key and decides nothing for good: whoever
spends is checked again in Postgres, and the control channel drops an entry at once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Network, IPv6Network

from kit import control
from kit.metrics import Counter
from tenants.keys.caller import Caller

LOOKUPS = Counter("skillgate_key_lookups_total", "Keys looked for among those known to this process.", ["outcome"])
_HITS, _MISSES = LOOKUPS.labels("hit"), LOOKUPS.labels("miss")

LIFETIME = timedelta(seconds=5)
_NOTHING = timedelta(0)
_MOST_ENTRIES = 10_000


@dataclass(frozen=True, slots=True)
class Known:
    """A good key as it was when it was looked up."""

    caller: Caller
    networks: tuple[IPv4Network | IPv6Network, ...]
    looked_up_at: datetime


_known: dict[bytes, Known] = {}
_drops = {"count": 0}  # a lookup that was under way while something was dropped is not kept


def find(fingerprint: bytes, *, now: datetime) -> Known | None:
    """Return a key that was found good less than `LIFETIME` ago."""
    known = _known.get(fingerprint)
    if known is not None and _NOTHING <= now - known.looked_up_at < LIFETIME:
        _HITS.inc()
        return known
    _MISSES.inc()
    _known.pop(fingerprint, None)
    return None


def generation() -> int:
    """Return what `keep` needs from before the lookup."""
    return _drops["count"]


def keep(fingerprint: bytes, known: Known, *, generation: int) -> None:
    """Remember a key unless something was dropped since `generation`: the lookup may predate it."""
    if generation != _drops["count"]:
        return
    while len(_known) >= _MOST_ENTRIES:
        _known.pop(next(iter(_known)), None)
    _known[fingerprint] = known


def forget(key_id: int) -> None:
    """Drop a key, so that the next call looks it up."""
    _drop(lambda caller: caller.key_id == key_id)


def forget_tenant(tenant_id: int) -> None:
    """Drop all keys of a tenant."""
    _drop(lambda caller: caller.tenant_id == tenant_id)


def clear() -> None:
    """Drop everything."""
    _drop(lambda _: True)


def _drop(is_meant: Callable[[Caller], bool]) -> None:
    _drops["count"] += 1
    for fingerprint, known in tuple(_known.items()):
        if is_meant(known.caller):
            _known.pop(fingerprint, None)


control.subscribe(control.CONNECTED, lambda _: clear())
for _topic in ("key.revoked", "key.rotated", "key.changed"):
    control.subscribe(_topic, lambda message: forget(message["key_id"]))
for _topic in ("tenant.suspended", "tenant.resumed", "tenant.changed"):
    control.subscribe(_topic, lambda message: forget_tenant(message["tenant_id"]))
