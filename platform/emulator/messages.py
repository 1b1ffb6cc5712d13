"""The Messages endpoints: create, count tokens, and the obstacles that any endpoint may be given."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from emulator import answers, caching, catalogue, delivery, prompts, validation
from emulator.refusals import invalid
from emulator.state import State, identity, key_digest

if TYPE_CHECKING:
    from emulator.exchange import Exchange
    from emulator.faults import Plan
    from emulator.prompts import Prompt

Json = dict[str, Any]


async def create(exchange: Exchange, state: State, *, key: str) -> None:
    """Answer `POST /v1/messages`."""
    call = await _accept(exchange, state, key=key)
    if call is not None:
        await delivery.deliver(call)


async def _accept(exchange: Exchange, state: State, *, key: str) -> delivery.Call | None:
    """Return the call that a request makes, or nothing if it needs no answer any more.

    What the call was made from goes with this frame: a thousand streams do not hold it while they last.
    """
    raw = await exchange.read()
    body = validation.parse(raw)
    model = validation.check_create(body)
    prompt = read(body, model=model)
    plan = state.faults.plan(raw, path=exchange.path, model=model.id)
    if await obstruct(exchange, plan, latency_ms=state.settings.latency_ms):
        return None
    delivery.refuse_unbroken(plan, is_stream=bool(body.get("stream")))
    refusal = plan.kind if plan.kind == "refusal" else None
    answer = answers.compose(prompt, words=plan.words, refusal=refusal)
    return _open(exchange, state, prompt=prompt, answer=answer, plan=plan, key=key)


async def count_tokens(exchange: Exchange, state: State, *, key: str) -> None:
    """Answer `POST /v1/messages/count_tokens` with the total that `create` would report."""
    del key
    raw = await exchange.read()
    body = validation.parse(raw)
    prompt = read(body, model=validation.check_count(body))
    plan = state.faults.plan(raw, path=exchange.path, model=body["model"])
    if not await obstruct(exchange, plan, latency_ms=0):
        await exchange.respond(f'{{"input_tokens": {prompt.total}}}'.encode())


async def obstruct(exchange: Exchange, plan: Plan, *, latency_ms: float) -> bool:
    """Keep a request waiting, refuse it or cut it off; tell whether it needs no answer any more."""
    seconds = plan.latency + latency_ms / 1000
    if seconds and not await exchange.pause(seconds):
        return True
    plan.refuse()
    if plan.kind == "html_502":
        page = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
        await exchange.respond(page, status=502, headers=b"content-type: text/html\r\n")
        return True
    if plan.kind == "reset":
        await exchange.sever(with_reset=True)
        return True
    return False


def read(body: Json, *, model: catalogue.Model) -> Prompt:
    """Return the prompt of a checked body."""
    prompt = prompts.read(body)
    caching.check_order(prompt)
    if prompt.total > model.max_input_tokens:
        raise invalid(f"prompt is too long: {prompt.total} tokens > {model.max_input_tokens} maximum")
    if prompt.schema is not None and any(document.is_citable for document in prompt.documents):
        raise invalid("output_config.format: citations cannot be used together with structured outputs")
    return prompt


def _open(
    exchange: Exchange, state: State, *, prompt: Prompt, answer: answers.Answer, plan: Plan, key: str
) -> delivery.Call:
    """Start billing a call."""
    body = prompt.body
    digest = key_digest(key)
    consumed = state.cache.consume(prompt, scope=f"{digest}:{body['model']}", now=time.monotonic())
    entry = state.journal.start(
        consumed=consumed,
        output_tokens=answer.least,
        at=datetime.fromtimestamp(time.time(), UTC).isoformat(),
        request_id=exchange.request_id,
        model=body["model"],
        key_digest=digest,
        stream=bool(body.get("stream")),
        user_id=(body.get("metadata") or {}).get("user_id"),
        client_reference=exchange.header(b"x-client-reference") or None,
        betas=exchange.header(b"anthropic-beta"),
    )
    chunk_ms = state.settings.chunk_ms if plan.chunk_ms is None else plan.chunk_ms
    return delivery.Call(
        exchange=exchange,
        journal=state.journal,
        entry=entry,
        model=body["model"],
        is_stream=bool(body.get("stream")),
        inference_geo=body.get("inference_geo"),
        speed=body.get("speed"),
        message_id=identity("msg"),
        answer=answer,
        consumed=consumed,
        plan=plan,
        pace=chunk_ms / 1000,
        words=state.settings.chunk_words,
    )
