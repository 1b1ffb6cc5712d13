"""Message Batches: calls that are taken together, worked on in the background and billed at the batch tier."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from emulator import answers, events, messages, validation
from emulator.refusals import Refused, invalid
from emulator.state import BATCHES, Batch, identity, key_digest

if TYPE_CHECKING:
    from emulator.exchange import Exchange
    from emulator.state import State

Json = dict[str, Any]

_MOST_REQUESTS = 100_000
_MOST_LISTED = 1_000
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_LINES = b"content-type: application/x-jsonl\r\n"
_under_way: set[asyncio.Task[None]] = set()


async def answer(exchange: Exchange, state: State, *, key: str) -> None:
    """Answer a request under `/v1/messages/batches`."""
    raw = await exchange.read()
    if await messages.obstruct(exchange, state.faults.plan(raw, path=BATCHES), latency_ms=0):
        return
    base = f"http://{exchange.header(b'host')}"
    name, _, act = exchange.path.removeprefix(BATCHES).strip("/").partition("/")
    digest = key_digest(key)
    if not name:
        await exchange.respond(json.dumps(_all(exchange, state, raw, key=digest, base=base)).encode())
        return
    batch = _find(state, name, key=digest)
    if (exchange.method, act) == ("GET", "results"):
        await exchange.respond(_results(batch), headers=_LINES)
        return
    if (exchange.method, act) == ("POST", "cancel"):
        batch.cancelled_at = batch.cancelled_at or _now()
        batch.is_cancelled.set()
    elif (exchange.method, act) != ("GET", ""):
        raise Refused(404, "Not found")
    await exchange.respond(json.dumps(batch.describe(base=base)).encode())


def _all(exchange: Exchange, state: State, raw: bytes, *, key: str, base: str) -> Json:
    if exchange.method == "POST":
        return _create(state, validation.parse(raw), key=key).describe(base=base)
    if exchange.method != "GET":
        raise Refused(405, "Method Not Allowed")
    asked = parse_qs(exchange.query)
    own = [batch for batch in reversed(state.batches.values()) if batch.key_digest == key]
    after = asked.get("after_id", [""])[-1]
    if after:
        own = own[[batch.id for batch in own].index(after) + 1 :] if any(one.id == after for one in own) else []
    asked_limit = asked.get("limit", ["20"])[-1]
    if not (asked_limit.isascii() and asked_limit.isdigit() and 1 <= int(asked_limit[:5]) <= _MOST_LISTED):
        raise invalid(f"limit: Input should be from 1 to {_MOST_LISTED}")
    limit = int(asked_limit)
    page = [batch.describe(base=base) for batch in own[:limit]]
    first, last = (page[0]["id"], page[-1]["id"]) if page else (None, None)
    return {"data": page, "has_more": len(own) > limit, "first_id": first, "last_id": last}


def _create(state: State, body: Json, *, key: str) -> Batch:
    requests = body.get("requests")
    if not isinstance(requests, list) or not 1 <= len(requests) <= _MOST_REQUESTS:
        raise invalid("requests: List should have at least 1 item")
    names: set[str] = set()
    for number, request in enumerate(requests):
        if not isinstance(request, dict) or set(request) != {"custom_id", "params"}:
            raise invalid(f"requests.{number}: a custom_id and params are required")
        name = request["custom_id"]
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise invalid(f"requests.{number}.custom_id: String should match pattern '^[a-zA-Z0-9_-]{{1,64}}$'")
        if name in names:
            raise invalid(f"requests.{number}.custom_id: custom_ids must be unique within a batch")
        names.add(name)
    batch = Batch(identity("msgbatch"), key, requests, _now())
    state.batches[batch.id] = batch
    task = asyncio.create_task(_work_off(state, batch))
    _under_way.add(task)
    task.add_done_callback(_under_way.discard)
    return batch


async def _work_off(state: State, batch: Batch) -> None:
    await _pause(batch, state.settings.batch_ms / 1000)
    for request in batch.requests:
        raw = json.dumps(request["params"]).encode()
        plan = state.faults.plan(raw, path="/v1/messages", model=str(request["params"].get("model", "")))
        await _pause(batch, plan.latency)
        if batch.cancelled_at:
            batch.results[request["custom_id"]] = {"type": "canceled"}
        elif plan.kind == "expired":
            batch.results[request["custom_id"]] = {"type": "expired"}
        else:
            batch.results[request["custom_id"]] = _result(state, batch, request, plan)
        await asyncio.sleep(0)
    batch.ended_at = _now()


async def _pause(batch: Batch, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await batch.is_cancelled.wait()


def _result(state: State, batch: Batch, request: Json, plan: Any) -> Json:
    body = {name: value for name, value in request["params"].items() if name != "stream"}
    try:
        plan.refuse()
        if plan.breaks_after is not None:
            raise Refused(500, "Internal server error")
        model = validation.check_create(body)
        prompt = messages.read(body, model=model)
        answered = answers.compose(prompt, words=plan.words, refusal=plan.kind if plan.kind == "refusal" else None)
    except Refused as refused:
        error = json.loads(refused.envelope(request_id=""))
        return {"type": "errored", "error": {**error, "request_id": None}}
    consumed = state.cache.consume(prompt, scope=f"{batch.key_digest}:{body['model']}", now=time.monotonic())
    entry = state.journal.start(
        consumed=consumed,
        output_tokens=answered.least,
        at=_now().isoformat(),
        request_id=batch.id,
        model=body["model"],
        key_digest=batch.key_digest,
        stream=False,
        user_id=(body.get("metadata") or {}).get("user_id"),
        client_reference=request["custom_id"],
        service_tier="batch",
    )
    state.journal.close(entry, outcome="complete", output_tokens=answered.tokens)
    message = events.message(answered, message_id=identity("msg"), model=body["model"])
    usage = events.usage(
        consumed,
        answered,
        output_tokens=answered.tokens,
        inference_geo=body.get("inference_geo"),
        speed=body.get("speed"),
    )
    return {"type": "succeeded", "message": {**message, "usage": {**usage, "service_tier": "batch"}}}


def _find(state: State, name: str, *, key: str) -> Batch:
    batch = state.batches.get(name)
    if batch is None or batch.key_digest != key:
        raise Refused(404, "Not found")
    return batch


def _results(batch: Batch) -> bytes:
    if not batch.ended_at:
        raise Refused(404, "Results are not available until the batch has ended.")
    shuffled = sorted(batch.results.items())  # not the order in which they were sent
    return b"".join(json.dumps({"custom_id": name, "result": result}).encode() + b"\n" for name, result in shuffled)


def _now() -> datetime:
    return datetime.fromtimestamp(time.time(), UTC)
