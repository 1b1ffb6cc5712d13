"""From the text a stranger sent to a caller, in one statement at most.

Every reason for refusal gives the same answer; which one it was is gathered for the audit log and
written later. What a good key leaves behind (last use, a digest under an older pepper) likewise.
"""

import ipaddress
import threading
from collections.abc import Collection
from datetime import datetime
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from django.conf import settings

from kit import coalescing, control, pg
from kit.errors import AuthenticationFailed
from tenants import audit, periodic
from tenants.audit import RefusedKey
from tenants.keys import cache, failures, form
from tenants.keys.cache import Known
from tenants.keys.caller import Caller

forget = cache.forget

_SELECT = """
SELECT k.id, coalesce(k.family_id, k.id) AS family_id, k.public_id, k.name, k.display, k.tenant_id, k.environment,
    k.allowed_skills, k.allowed_verbs, k.allowed_models, k.allowed_networks, k.requests_per_minute,
    k.tokens_per_minute, k.concurrent_calls, k.expires_at, k.revoked_at, k.pepper_id,
    t.slug AS tenant_slug, t.timezone AS tenant_timezone, t.status AS tenant_status,
    t.allowed_models AS tenant_models, t.allows_fallback, t.provider_key_sealed IS NOT NULL AS has_provider_key, t.logs_prompts,
    nullif(t.messages_policy::text, '{}') AS messages_policy
FROM tenants_apikey k JOIN tenants_tenant t ON t.id = k.tenant_id
"""
_LOOK_UP = f"{_SELECT} WHERE k.digest = ANY(%(digests)s)"
_LOOK_AGAIN = f"{_SELECT} WHERE k.id = %(id)s"
_INACTIVE = """
SELECT k.id FROM tenants_apikey k JOIN tenants_tenant t ON t.id = k.tenant_id
WHERE k.id = ANY(%(ids)s) AND (k.revoked_at IS NOT NULL OR k.expires_at <= clock_timestamp() OR t.status <> 'active')
"""


async def authenticate(raw: str | None, *, address: str, now: datetime, fresh: bool = False) -> Caller:
    """Return who calls; `fresh` does not trust what was looked up in the last seconds.

    Raises `AuthenticationFailed`, the same for every reason; `RateLimited` instead for an address
    that failed too often; `Unavailable` without a database.
    """
    fingerprint = form.fingerprint(raw or "")
    known = None if fresh or not raw else cache.find(fingerprint, now=now)
    try:
        known = known or await _looked_up(raw, now=now, fresh=fresh, fingerprint=fingerprint)
        _check_now(known, address=address, now=now)
    except _Refused as refused:
        audit.gather(refused.key._replace(address=address), now=now)
    else:
        _last_uses[known.caller.key_id] = now
        return known.caller
    await failures.count(address, now=now)
    raise AuthenticationFailed


async def authenticate_again(key_id: int, *, address: str, now: datetime) -> Caller:
    """Return the caller of a key that was found good before, if it still is; always looked up.

    It is a use of the key like any other. Raises `AuthenticationFailed` or `Unavailable`.
    """
    periodic.ensure()
    row = await pg.fetch_one(_LOOK_AGAIN, {"id": key_id})
    if row is None:
        raise AuthenticationFailed
    known = _known(row, now=now)
    try:
        _check_row(row, caller=known.caller)
        _check_now(known, address=address, now=now)
    except _Refused as refused:
        audit.gather(refused.key._replace(address=address), now=now)
        raise AuthenticationFailed from None
    _last_uses[key_id] = now
    return known.caller


async def inactive(key_ids: Collection[int]) -> set[int]:
    """Return those of the keys that may spend nothing by now; raises `Unavailable`."""
    rows = await pg.fetch_all(_INACTIVE, {"ids": list(key_ids)})
    return {row["id"] for row in rows}


async def owner(key_id: int, *, now: datetime) -> Caller:
    """Return the caller of a key whatever became of it, to close what it began: it admits to nothing.

    Raises `AuthenticationFailed` when there is no such key, or `Unavailable`.
    """
    row = await pg.fetch_one(_LOOK_AGAIN, {"id": key_id})
    if row is None:
        raise AuthenticationFailed
    return _known(row, now=now).caller


class _Refused(Exception):
    """The reason, for us alone."""

    def __init__(self, key: RefusedKey) -> None:
        super().__init__(key.reason)
        self.key = key


async def _looked_up(raw: str | None, *, now: datetime, fresh: bool, fingerprint: bytes) -> Known:
    periodic.ensure()
    control.listener()
    if not raw:
        raise _Refused(RefusedKey("absent"))
    if not form.is_well_formed(raw):
        raise _Refused(RefusedKey("malformed"))
    digests = form.digests(raw)
    generation = cache.generation()
    row = await _row(digests, is_shared=not fresh, generation=generation)
    if row is None:
        raise _Refused(RefusedKey("unknown", display=form.display(raw)))
    known = _known(row, now=now)
    _check_row(row, caller=known.caller)
    cache.keep(fingerprint, known, generation=generation)
    _rehash_later(row, current=next(iter(digests.values())))
    return known


async def _row(digests: dict[str, bytes], *, is_shared: bool, generation: int) -> dict[str, Any] | None:
    """Look a key up; many calls of one key that nobody knew yet share a look, but none from before a change was heard of."""

    async def read() -> dict[str, Any] | None:
        return await pg.fetch_one(_LOOK_UP, {"digests": list(digests.values())})

    if not is_shared:
        return await read()
    return await coalescing.shared(("key", *digests.values(), generation), read)


def _check_row(row: dict[str, Any], *, caller: Caller) -> None:
    if row["revoked_at"] is not None:
        raise _refused("revoked", caller)
    if row["tenant_status"] != "active":
        raise _refused("suspended_tenant", caller)


def _check_now(known: Known, *, address: str, now: datetime) -> None:
    """What can change from one call to the next is checked on each, also for a key looked up before."""
    if known.caller.expires_at is not None and known.caller.expires_at <= now:
        raise _refused("expired", known.caller)
    if known.networks and not _is_within(address, known.networks):
        raise _refused("network", known.caller)


def _refused(reason: str, caller: Caller) -> _Refused:
    return _Refused(RefusedKey(reason, display=caller.display, tenant_id=caller.tenant_id, public_id=caller.public_id))


def _is_within(address: str, networks: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)  # ::ffff:192.0.2.1 is an IPv4 caller on a dual-stack socket
    return any((mapped or parsed) in network for network in networks)


@lru_cache(maxsize=1024)
def _network(text: str) -> IPv4Network | IPv6Network:
    return ipaddress.ip_network(text)


def _known(row: dict[str, Any], *, now: datetime) -> Known:
    caller = Caller(
        key_id=row["id"],
        family_id=row["family_id"],
        public_id=row["public_id"],
        name=row["name"],
        display=row["display"],
        tenant_id=row["tenant_id"],
        tenant_slug=row["tenant_slug"],
        tenant_timezone=row["tenant_timezone"],
        environment=row["environment"],
        allowed_skills=frozenset(row["allowed_skills"]),
        allowed_verbs=frozenset(row["allowed_verbs"]),
        allowed_models=frozenset(row["allowed_models"]),
        requests_per_minute=row["requests_per_minute"],
        tokens_per_minute=row["tokens_per_minute"],
        concurrent_calls=row["concurrent_calls"],
        expires_at=row["expires_at"],
        tenant_models=frozenset(row["tenant_models"]),
        allows_fallback=row["allows_fallback"],
        has_provider_key=row["has_provider_key"],
        logs_prompts=row["logs_prompts"],
        messages_policy=row["messages_policy"] or "",
    )
    return Known(caller, networks=tuple(map(_network, row["allowed_networks"])), looked_up_at=now)


# --- What a good key leaves behind, written later -----------------------------------------------------------------------

_last_uses: dict[int, datetime] = {}
_rehashes: dict[int, tuple[str, bytes, str]] = {}  # key id → the pepper it was found under, new digest, new pepper
_lock = threading.Lock()


def _rehash_later(row: dict[str, Any], *, current: bytes) -> None:
    newest = next(iter(settings.KEY_PEPPERS))
    if row["pepper_id"] != newest:
        _rehashes[row["id"]] = (row["pepper_id"], current, newest)


@periodic.every(5)
async def write_last_uses() -> None:
    """Write when keys were last used, for each at most once a minute."""
    with _lock:
        taken = dict(_last_uses)
        _last_uses.clear()
    if taken:
        await pg.execute(
            """
            UPDATE tenants_apikey k SET last_used_at = u.at
            FROM (SELECT id, at FROM unnest(%(ids)s::bigint[], %(times)s::timestamptz[]) AS v(id, at) ORDER BY id) u
            WHERE k.id = u.id AND (k.last_used_at IS NULL OR k.last_used_at <= u.at - interval '1 minute')
            """,
            {"ids": list(taken), "times": list(taken.values())},
        )


@periodic.every(5)
async def rehash() -> None:
    """Store the digest under the newest pepper for keys that came in under an older one."""
    with _lock:
        taken = dict(_rehashes)
        _rehashes.clear()
    for key_id, (old, digest, new) in taken.items():
        await pg.execute(
            "UPDATE tenants_apikey SET digest = %(digest)s, pepper_id = %(new)s WHERE id = %(id)s AND pepper_id = %(old)s",
            {"digest": digest, "new": new, "id": key_id, "old": old},
        )
