"""Taking an analysis in: checked, estimated, written, and answered within a second; the work comes later."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Json

from kit import ids, pg
from kit.errors import InvalidRequest, NotAllowed
from kit.statements import Connection
from skills import requests
from skills.admission import refuse_foreign_model
from skills.analyses import planning, screening, stages, states
from skills.analyses.models import Analysis
from skills.analyses.stages import Brief
from skills.webhooks import endpoints
from tenants.keys import Caller
from usage import pricing
from usage.pricing import Tokens

MOST_DOCUMENTS = 500
_BYTES_PER_TOKEN = 3.5
_WRITTEN_SHARE = 0.35  # of the output that a step may write, it writes about so much
Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One document as it came: its text, or the file that it waits in below the uploads folder."""

    name: str
    media_type: str
    size_bytes: int
    digest: bytes
    text: str | None = None
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What a caller wants analysed, and within which limits."""

    brief: Brief
    documents: Sequence[Sent]
    request_id: str
    address: str = ""
    max_tokens: int | None = None
    max_micros: int | None = None
    priority: int = Analysis.Priority.NORMAL
    processing: str = Analysis.Processing.IMMEDIATE
    metadata: dict[str, Any] = field(default_factory=dict)
    callback_url: str | None = None


@dataclass(frozen=True, slots=True)
class Submitted:
    """The new analysis; `secret` is that of a callback used for the first time, shown once."""

    row: Row
    secret: str | None = None


async def submit(caller: Caller, asked: Submission, *, now: datetime) -> Submitted:
    """Write a new analysis with its documents, queued.

    Raises `InvalidRequest` (with the path of the fault), `RequestTooLarge` by the skill's guardrails, or `NotAllowed`;
    nothing is written then.
    """
    _check(caller, asked)
    brief, found = await screening.brief(caller, asked.brief, sizes=[one.size_bytes for one in asked.documents])
    asked = replace(asked, brief=brief)
    estimate = await estimated(caller, asked.brief, sizes=[one.size_bytes for one in asked.documents], now=now)
    endpoint = secret = None
    async with pg.connection() as connection, connection.transaction():
        if asked.callback_url is not None:
            endpoint, secret = await endpoints.of_url(connection, caller.tenant_id, asked.callback_url)
        row = await _insert(connection, caller, asked, estimate=estimate, endpoint=endpoint, found=found)
        await states.say(connection, row["id"], "analysis.queued", {"state": row["state"], "estimate": estimate})
    return Submitted(row, secret)


async def estimated(caller: Caller, brief: Brief, *, sizes: Sequence[int], now: datetime) -> Row:
    """Guess what an analysis of documents of so many bytes takes: calls, tokens and cost."""
    part, overlap = stages.part_sizes(brief.version, caller)
    counts = [max(1, math.ceil((size - overlap) / (part - overlap))) for size in sizes]
    calls = planning.expected_steps(sum(counts))
    shared = len(brief.version.system.encode()) + len(brief.task().encode()) + 2_000
    read = (sum(sizes) + overlap * sum(counts) + part * (calls - sum(counts)) + shared * calls) / _BYTES_PER_TOKEN
    most = brief.version.max_tokens * (calls - 1) + brief.version.max_tokens_ceiling
    tokens = Tokens(input=int(read), output=int(most * _WRITTEN_SHARE))
    book = await pricing.current(caller.tenant_id)
    model = requests.model_name(brief.version.model)
    each = Tokens(input=tokens.input // calls, output=tokens.output // calls)
    return {
        "calls": calls,
        "tokens": tokens.total,
        "cost_micros": book.cost(model, each, on=now.date()) * calls,
        "is_exact": False,
    }


def _check(caller: Caller, asked: Submission) -> None:
    version = asked.brief.version
    if not version.is_analysis:
        raise InvalidRequest(
            f"The skill {version.skill!r} answers single calls; it is no analysis skill.", path="/skill"
        )
    if not asked.documents:
        raise InvalidRequest("Send `text`, `documents` or files to analyse.", path="/documents")
    if len(asked.documents) > MOST_DOCUMENTS:
        raise InvalidRequest(f"An analysis takes at most {MOST_DOCUMENTS} documents.", path="/documents")
    refuse_foreign_model(caller, requests.model_name(version.model))
    stages.check(asked.brief)


async def _insert(
    connection: Connection, caller: Caller, asked: Submission, *, estimate: Row, endpoint: UUID | None, found: list[Row]
) -> Row:
    brief = asked.brief
    given = {
        "id": ids.uuid7(),
        "tenant": caller.tenant_id,
        "key": caller.key_id,
        "address": asked.address,
        "request": asked.request_id,
        "skill": brief.version.skill,
        "version": brief.version.id,
        "input": Json(brief.input),
        "instructions": brief.instructions,
        "schema": None if brief.output_schema is None else Json(brief.output_schema),
        "metadata": Json(asked.metadata),
        "callback": endpoint,
        "priority": asked.priority,
        "processing": asked.processing,
        "estimate": Json(estimate),
        "tokens": asked.max_tokens,
        "micros": asked.max_micros,
        "steps": estimate["calls"],
        "screening": Json({"found": found} if found else {}),
    }
    row = await (await connection.execute(_INSERT, given)).fetchone()
    if row is None:
        raise NotAllowed("The analysis could not be written.")
    async with connection.cursor() as cursor:
        await cursor.executemany(_DOCUMENT, [_document(row["id"], n, one) for n, one in enumerate(asked.documents)])
    return row


def _document(analysis_id: UUID, position: int, one: Sent) -> Row:
    return {
        "id": analysis_id,
        "position": position,
        "name": one.name[:255],
        "type": one.media_type,
        "size": one.size_bytes,
        "digest": one.digest,
        "path": one.path,
        "text": one.text,
    }


_INSERT = b"""
INSERT INTO skills_analysis (
    id, tenant_id, key_id, address, request_id, skill, version_id, input, instructions, output_schema, metadata, callback_id,
    priority, processing, estimate, max_tokens, max_micros, steps_total, screening
) VALUES (
    %(id)s, %(tenant)s, %(key)s, %(address)s, %(request)s, %(skill)s, %(version)s, %(input)s, %(instructions)s, %(schema)s,
    %(metadata)s, %(callback)s, %(priority)s, %(processing)s, %(estimate)s, %(tokens)s, %(micros)s, %(steps)s, %(screening)s
) RETURNING *
"""
_DOCUMENT = b"""
INSERT INTO skills_analysisdocument (analysis_id, position, name, media_type, size_bytes, digest, path, text)
VALUES (%(id)s, %(position)s, %(name)s, %(type)s, %(size)s, %(digest)s, %(path)s, %(text)s)
"""
