"""One execution for each idempotency key: who comes first makes the call, all others get its answer.

A call is claimed in Postgres before anything is spent. While its process lives, the claim's lease
is renewed; when the process is lost, the lease lapses and a retry may execute the call once more.
What was refused before anything was spent is forgotten, so that a retry can pass.
"""

import asyncio
import hashlib
import json
import logging
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

from kit import ids, pg
from kit.errors import Conflict, IdempotencyMismatch, InvalidRequest, Unavailable
from skills.models import IdempotentCall
from tenants import periodic
from tenants.keys import Caller

log = logging.getLogger(__name__)

LEASE_SECONDS = 60
KEPT_HOURS = 24
MOST_EXECUTIONS = 2
_RENEW_SECONDS = 10
_FORM = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,253}[\x21-\x7e])?")
_PAUSES = (0.05, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)


@dataclass(frozen=True, slots=True)
class Claim:
    """The right, and the duty, to make the call."""

    call_id: UUID
    owner: UUID


@dataclass(frozen=True, slots=True)
class Kept:
    """The answer that the call had."""

    status: int
    content_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class UnderWay:
    """The call is being made elsewhere; what it says is recorded under this run."""

    run_id: UUID


_Claims = dict[Claim, "asyncio.Future[None]"]
_claims: WeakKeyDictionary[asyncio.AbstractEventLoop, _Claims] = WeakKeyDictionary()

# A new key, one whose answer is no longer kept, or the same call whose process was lost: each is the caller's now.
_CLAIM = """
INSERT INTO skills_idempotentcall AS c (id, family_id, key, digest, owner, lease_until)
VALUES (%(owner)s, %(family)s, %(key)s, %(digest)s, %(owner)s, clock_timestamp() + make_interval(secs => %(lease)s))
ON CONFLICT (family_id, key) DO UPDATE SET
    owner = excluded.owner, lease_until = excluded.lease_until, digest = excluded.digest, run_id = NULL,
    answered_at = NULL, status = NULL, content = NULL, content_type = '',
    executions = CASE WHEN c.created_at < clock_timestamp() - make_interval(hours => %(hours)s) THEN 1
                      ELSE c.executions + 1 END,
    created_at = CASE WHEN c.created_at < clock_timestamp() - make_interval(hours => %(hours)s) THEN clock_timestamp()
                      ELSE c.created_at END
WHERE c.lease_until < clock_timestamp() AND (
    c.created_at < clock_timestamp() - make_interval(hours => %(hours)s)
    OR (c.answered_at IS NULL AND c.digest = excluded.digest AND c.executions < %(most)s))
RETURNING c.id
"""
_FIND = """
SELECT digest, run_id, status, content_type, content, answered_at IS NOT NULL AS is_answered,
    lease_until < clock_timestamp() AS is_lapsed
FROM skills_idempotentcall WHERE family_id = %(family)s AND key = %(key)s
"""
_KEEP = """
UPDATE skills_idempotentcall
SET answered_at = clock_timestamp(), status = %(status)s, content_type = %(content_type)s, content = %(content)s
WHERE id = %(id)s AND owner = %(owner)s AND answered_at IS NULL
"""


def checked_key(key: str) -> str:
    """Return an idempotency key that can be used; raises `InvalidRequest`."""
    if not _FORM.fullmatch(key):
        raise InvalidRequest(
            "An idempotency key is 1 to 255 printable ASCII characters, such as a UUID.", header="Idempotency-Key"
        )
    return key


def digest(operation: str, body: Any) -> bytes:
    """Digest where a call goes and what it says; the order of fields makes no difference."""
    said = json.dumps([operation, body], sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(said.encode()).digest()


async def claim(caller: Caller, key: str, *, digest: bytes) -> Claim | Kept | UnderWay:
    """Claim a call, or find what became of it.

    Raises `IdempotencyMismatch` when the key was used for another call, `Conflict` (with
    `Retry-After`) while that call is under way, `Unavailable` without a database.
    """
    periodic.ensure()
    for _ in range(3):  # what was found may be forgotten in between, and the key free again
        made = Claim(ids.uuid7(), ids.uuid7())
        row = await pg.fetch_one(
            _CLAIM,
            {
                "owner": made.owner,
                "family": caller.family_id,
                "key": key,
                "digest": digest,
                "lease": LEASE_SECONDS,
                "hours": KEPT_HOURS,
                "most": MOST_EXECUTIONS,
            },
        )
        if row is not None:
            made = Claim(row["id"], made.owner)
            _here()[made] = asyncio.get_running_loop().create_future()
            return made
        found = await pg.fetch_one(_FIND, {"family": caller.family_id, "key": key})
        if found is not None:
            return _found(found, digest=digest)
    raise under_way()


async def bind(made: Claim, *, run_id: UUID) -> None:
    """Say under which run the call is recorded, so that others may follow it."""
    await pg.execute(
        "UPDATE skills_idempotentcall SET run_id = %(run)s WHERE id = %(id)s AND owner = %(owner)s",
        {"run": run_id, "id": made.call_id, "owner": made.owner},
    )


async def keep(made: Claim, answer: Kept) -> None:
    """Store the answer for all who come with the same key; it outlasts a short outage."""
    parameters = {
        "id": made.call_id,
        "owner": made.owner,
        "status": answer.status,
        "content_type": answer.content_type,
        "content": answer.content,
    }
    await _insist(made, _KEEP, parameters)


async def drop(made: Claim) -> None:
    """Forget a call that spent nothing, so that a retry can pass."""
    statement = "DELETE FROM skills_idempotentcall WHERE id = %(id)s AND owner = %(owner)s AND answered_at IS NULL"
    await _insist(made, statement, {"id": made.call_id, "owner": made.owner})


async def _insist(made: Claim, statement: str, parameters: dict[str, Any]) -> None:
    try:
        for pause in (*_PAUSES, None):
            try:
                await pg.execute(statement, parameters)
            except Unavailable:
                if pause is None:
                    log.exception("the outcome of the idempotent call %s was not written", made.call_id)
                    return
                await asyncio.sleep(pause)
            else:
                return
    finally:
        ended = _here().pop(made, None)
        if ended is not None:
            ended.set_result(None)


@periodic.every(_RENEW_SECONDS)
async def renew() -> None:
    """Renew the leases of the calls that are made in the running loop."""
    owners = [made.owner for made in _here()]
    if owners:
        await pg.execute(
            """
            UPDATE skills_idempotentcall SET lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
            WHERE owner = ANY(%(owners)s) AND answered_at IS NULL
            """,
            {"owners": owners, "lease": LEASE_SECONDS},
        )


def forget_old(*, now: datetime) -> int:
    """Remove the calls whose answers need no longer be kept, and return how many."""
    old = IdempotentCall.objects.filter(created_at__lt=now - timedelta(hours=KEPT_HOURS), lease_until__lt=now)
    return old.delete()[0]


async def drain(*, within: float) -> None:
    """Wait for the outcome of calls under way to be written."""
    if _here():
        await asyncio.wait(set(_here().values()), timeout=within)


def _here() -> _Claims:
    return _claims.setdefault(asyncio.get_running_loop(), {})


def _found(row: dict[str, Any], *, digest: bytes) -> Kept | UnderWay:
    if bytes(row["digest"]) != digest:
        raise IdempotencyMismatch(
            "This idempotency key was used before with another request. Use a new key for a new request.",
            header="Idempotency-Key",
        )
    if row["is_answered"]:
        return Kept(row["status"], row["content_type"], bytes(row["content"]))
    if row["is_lapsed"]:
        raise Conflict(
            "The servers that made this call were lost twice, and its outcome is not known. Use a new idempotency key "
            "to run it again.",
            reason="outcome_unknown",
        )
    if row["run_id"] is not None:
        return UnderWay(row["run_id"])
    raise under_way()


def under_way() -> Conflict:
    """Word the refusal of a call that is being made already."""
    return Conflict(
        "A call with this idempotency key is still under way. Its answer can be had with the same key once it is done.",
        headers={"Retry-After": "1"},
        retry_after=1,
        reason="in_flight",
    )
