"""Taking a batch in: every item is checked and written before the answer, or none is."""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from psycopg.types.json import Json

from kit import ids, pg
from kit.errors import InvalidRequest, NotAllowed
from kit.statements import Connection
from skills import requests
from skills.admission import refuse_foreign_model
from skills.analyses import states
from skills.analyses.models import Analysis
from skills.analyses.submission import Submitted
from skills.batches.lines import Checked
from skills.versions import Version
from skills.webhooks import endpoints
from tenants.keys import Caller
from usage import pricing
from usage.pricing import Tokens

_BYTES_PER_TOKEN = 3.5
_WRITTEN_SHARE = 0.35  # of the output that an item may write, it writes about so much
Row = dict[str, Any]
Thing = TypeVar("Thing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a caller wants done with every item, and within which limits."""

    version: Version
    items: Iterable[Any]
    request_id: str
    address: str = ""
    item_max_tokens: int | None = None
    max_tokens: int | None = None
    max_micros: int | None = None
    processing: str = Analysis.Processing.IMMEDIATE
    priority: int = Analysis.Priority.NORMAL
    metadata: Row = field(default_factory=dict)
    callback_url: str | None = None


async def submit(caller: Caller, order: Order, *, now: datetime) -> Submitted:
    """Write a new batch with its items, queued.

    Raises `InvalidRequest` naming the item at fault, `RequestTooLarge` or `NotAllowed`; nothing is written then.
    """
    _check(caller, order)
    checked = Checked(order.version, order.item_max_tokens)
    endpoint = secret = None
    async with pg.connection() as connection, connection.transaction():
        if order.callback_url is not None:
            endpoint, secret = await endpoints.of_url(connection, caller.tenant_id, order.callback_url)
        batch_id = await _insert(connection, caller, order, endpoint=endpoint)
        chunks = checked.steps(order.items)
        while (chunk := await asyncio.to_thread(_next, chunks)) is not None:
            await connection.execute(_ITEMS, {"id": batch_id, "items": Json(chunk)})
        estimate = await _estimated(caller, order, checked, now=now)
        given = {"id": batch_id, "count": checked.count, "estimate": Json(estimate)}
        row = await (await connection.execute(_COMPLETE, given)).fetchone()
        if row is None:
            raise NotAllowed("The batch could not be written.")
        await states.say(connection, batch_id, "batch.queued", {"state": row["state"], "estimate": estimate})
    return Submitted(row, secret)


def _next(chunks: Iterator[Thing]) -> Thing | None:
    return next(chunks, None)


def _check(caller: Caller, order: Order) -> None:
    version = order.version
    if version.is_analysis:
        message = f"The skill {version.skill!r} works on documents step by step: send them to POST /v1/analyses."
        raise InvalidRequest(message, path="/skill")
    if order.processing == Analysis.Processing.BULK and version.policy:
        policy = ", ".join(sorted(version.policy))
        message = (
            f"The skill {version.skill!r} has a policy for each call ({policy}), which a message batch cannot heed."
        )
        raise InvalidRequest(f"{message} Leave `processing` out.", path="/processing")
    refuse_foreign_model(caller, requests.model_name(version.model))


async def _estimated(caller: Caller, order: Order, checked: Checked, *, now: datetime) -> Row:
    version = order.version
    fixed = len(version.system.encode()) + len(version.template.encode())
    read = int((checked.read_bytes + fixed * checked.count) / _BYTES_PER_TOKEN)
    written = int((order.item_max_tokens or version.max_tokens) * _WRITTEN_SHARE) * checked.count
    book = await pricing.current(caller.tenant_id)
    each = Tokens(input=read // checked.count, output=written // checked.count)
    cost = book.cost(requests.model_name(version.model), each, on=now.date()) * checked.count
    return {"calls": checked.count, "tokens": read + written, "cost_micros": cost, "is_exact": False}


async def _insert(connection: Connection, caller: Caller, order: Order, *, endpoint: UUID | None) -> UUID:
    batch_id = ids.uuid7()
    given = {
        "id": batch_id,
        "tenant": caller.tenant_id,
        "key": caller.key_id,
        "address": order.address,
        "request": order.request_id,
        "skill": order.version.skill,
        "version": order.version.id,
        "input": Json({"max_tokens": order.item_max_tokens}),
        "metadata": Json(order.metadata),
        "callback": endpoint,
        "processing": order.processing,
        "priority": order.priority,
        "tokens": order.max_tokens,
        "micros": order.max_micros,
    }
    await connection.execute(_BATCH, given)
    return batch_id


_BATCH = b"""
INSERT INTO skills_analysis (
    id, kind, tenant_id, key_id, address, request_id, skill, version_id, input, metadata, callback_id, processing, priority,
    max_tokens, max_micros
) VALUES (
    %(id)s, 'batch', %(tenant)s, %(key)s, %(address)s, %(request)s, %(skill)s, %(version)s, %(input)s, %(metadata)s, %(callback)s,
    %(processing)s, %(priority)s, %(tokens)s, %(micros)s
)
"""
_ITEMS = b"""
INSERT INTO skills_analysisstep (analysis_id, kind, level, position, input)
SELECT %(id)s, 'item', 0, i.position, i.input
FROM json_to_recordset(%(items)s::json) AS i (position integer, input jsonb)
"""
_COMPLETE = b"""
UPDATE skills_analysis SET steps_total = %(count)s, estimate = %(estimate)s WHERE id = %(id)s RETURNING *
"""
