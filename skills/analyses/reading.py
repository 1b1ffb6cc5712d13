"""Looking at analyses: one, many, what one says as it goes. Another tenant's is as absent as one that never was."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any
from uuid import UUID

from kit import clock, pg
from kit.errors import NotFound
from skills.analyses.models import Analysis
from skills.analyses.states import ENDED

Kind = Analysis.Kind
_POLL_SECONDS = 0.4
_MOST_EVENTS = 200
Row = dict[str, Any]


async def one(tenant_id: int, analysis_id: UUID | None, *, kind: str = Kind.ANALYSIS) -> Row:
    """Return an analysis with its documents, or a batch; raises `NotFound`."""
    given = {"tenant": tenant_id, "id": analysis_id, "kind": kind}
    row = None if analysis_id is None else await pg.fetch_one(_ONE, given)
    if row is None:
        raise NotFound(f"There is no such {kind}.")
    return row


async def page(
    tenant_id: int,
    *,
    after: UUID | None,
    limit: int,
    states: Sequence[str] = (),
    skill: str | None = None,
    kind: str = Kind.ANALYSIS,
) -> list[Row]:
    """Return up to `limit` analyses, or batches, the newest first, those older than `after`."""
    given = {"tenant": tenant_id, "after": after, "limit": limit, "states": list(states) or None, "skill": skill}
    return await pg.fetch_all(_PAGE, {**given, "kind": kind})


async def events(analysis_id: UUID, *, after: int) -> list[Row]:
    """Return what an analysis said after an event, in order."""
    return await pg.fetch_all(_EVENTS, {"id": analysis_id, "after": after, "limit": _MOST_EVENTS})


async def follow(
    tenant_id: int, analysis_id: UUID, *, after: int, silence: float, kind: str = Kind.ANALYSIS
) -> AsyncGenerator[Row | None, None]:
    """Yield events as they come, up to the end of the analysis; None after so many silent seconds."""
    heard = clock.monotonic()
    while True:
        state = (await one(tenant_id, analysis_id, kind=kind))["state"]
        found = await events(analysis_id, after=after)
        for event in found:
            yield event
            after, heard = event["id"], clock.monotonic()
        if not found and state in ENDED:
            return
        if clock.monotonic() - heard > silence:
            yield None
            heard = clock.monotonic()
        if len(found) < _MOST_EVENTS:
            await asyncio.sleep(_POLL_SECONDS)


_COLUMNS = """
SELECT a.id, a.kind, a.processing, a.skill, v.number AS version, a.state, a.error, a.priority, a.metadata, a.estimate, a.max_tokens, a.max_micros,
    a.reserved_tokens, a.reserved_micros, a.used_tokens, a.used_micros, a.steps_total, a.steps_done, a.steps_failed, a.busy_seconds,
    a.created_at, a.started_at, a.ended_at, a.created_at + make_interval(days => t.retention_days) AS expires_at
"""
_ONE = f"""
{_COLUMNS}, a.result, (
    SELECT coalesce(jsonb_agg(jsonb_build_object('name', d.name, 'media_type', d.media_type, 'bytes', d.size_bytes) ORDER BY d.position), '[]')
    FROM skills_analysisdocument d WHERE d.analysis_id = a.id
) AS documents
FROM skills_analysis a JOIN skills_skillversion v ON v.id = a.version_id JOIN tenants_tenant t ON t.id = a.tenant_id
WHERE a.tenant_id = %(tenant)s AND a.id = %(id)s AND a.kind = %(kind)s AND a.deleted_at IS NULL
"""  # noqa: S608 - the columns are this module's own
_PAGE = f"""
{_COLUMNS}
FROM skills_analysis a JOIN skills_skillversion v ON v.id = a.version_id JOIN tenants_tenant t ON t.id = a.tenant_id
WHERE a.tenant_id = %(tenant)s AND a.kind = %(kind)s AND a.deleted_at IS NULL AND (%(after)s::uuid IS NULL OR a.id < %(after)s)
    AND (%(states)s::text[] IS NULL OR a.state = ANY(%(states)s)) AND (%(skill)s::text IS NULL OR a.skill = %(skill)s)
ORDER BY a.id DESC LIMIT %(limit)s
"""
_EVENTS = """
SELECT id, name, data, at FROM skills_analysisevent WHERE analysis_id = %(id)s AND id > %(after)s ORDER BY id LIMIT %(limit)s
"""
