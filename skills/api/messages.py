"""Anthropic's own endpoints, so that its SDKs work here by changing the address and the key."""

import re
from collections.abc import Awaitable
from typing import Any, ClassVar

from django.http.response import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from kit.errors import InvalidRequest, SkillgateError
from kit.rest import AsyncAPIView, StrictRequest, respond
from skills import messages
from skills.api import documentation, messages_schema, relayed, retries
from skills.api.opening import EVENT_STREAM
from skills.api.retries import Answer
from skills.messages import Ask
from tenants.api import callers

_MEBIBYTE = 1024 * 1024
_MOST_KEYS = 100_000  # a conversation that fills Claude's context with tool calls has some tens of thousands
_BETAS = re.compile(r"[A-Za-z0-9._-]{1,64}(?:\s*,\s*[A-Za-z0-9._-]{1,64}){0,31}")


class MessagesView(AsyncAPIView):
    """Claude's Messages API, through the same admission and ledger as every skill."""

    produces: ClassVar[tuple[str, ...]] = ("application/json", EVENT_STREAM)
    max_body_bytes = 32 * _MEBIBYTE
    max_body_keys = _MOST_KEYS

    @extend_schema(
        operation_id="create_message",
        parameters=[documentation.IDEMPOTENCY_KEY],
        request=documentation.body(messages_schema.ASK),
        responses=messages_schema.MESSAGE,
        tags=["messages"],
    )
    async def post(self, request: StrictRequest) -> HttpResponseBase:
        """Ask Claude directly, with any parameter of its Messages API; streamed if `stream` is true."""
        caller = await callers.of_request(request, verb="messages")
        body = messages.check(request.data)
        ask = Ask(
            caller=caller,
            body=body,
            request_id=str(request.request_id),
            betas=betas(request),
            finishes_alone=retries.key_of(request) is not None,
        )
        return await (relayed.stream(request, ask) if body.get("stream") else answer(request, ask))


class CountTokensView(AsyncAPIView):
    """How many input tokens a request has."""

    max_body_bytes = 32 * _MEBIBYTE
    max_body_keys = _MOST_KEYS

    @extend_schema(
        operation_id="count_message_tokens",
        request=documentation.body(messages_schema.ASK_COUNT),
        responses=messages_schema.COUNT,
        tags=["messages"],
    )
    async def post(self, request: Request) -> Response:
        """Count a request's input tokens: free, and limited by requests per minute."""
        caller = await callers.of_request(request, verb="messages", fresh=True)
        body = messages.check_count(request.data)
        counted, decision = await messages.count_tokens(caller, body)
        return respond({"input_tokens": counted}, request=request, headers=decision.headers())


class ModelsView(AsyncAPIView):
    """Which models there are for a key."""

    @extend_schema(operation_id="list_models", responses=messages_schema.MODELS, tags=["messages"])
    async def get(self, request: Request) -> Response:
        """List the models this key may use, page by page."""
        caller = await callers.of_request(request, verb="messages", fresh=True)
        asked = request.query_params
        page = await messages.list_models(
            caller,
            limit=_whole_number(asked.get("limit", "20")),
            after_id=asked.get("after_id", ""),
            before_id=asked.get("before_id", ""),
        )
        return respond(page, request=request)


class ModelView(AsyncAPIView):
    """One model."""

    @extend_schema(operation_id="get_model", responses=messages_schema.MODEL, tags=["messages"])
    async def get(self, request: Request, model_id: str) -> Response:
        """Show one model."""
        caller = await callers.of_request(request, verb="messages", fresh=True)
        return respond(await messages.model(caller, model_id), request=request)


def answer(request: Request, ask: Ask) -> Awaitable[HttpResponseBase]:
    """Wait for the whole message; a repeated call is made only once."""

    async def work() -> Answer:
        relay = await messages.start(ask)
        decision = relay.admitted.decision
        try:
            return await messages.rendered(relay, lambda message: Answer(message, headers=decision.headers()))
        except SkillgateError as error:
            return retries.failed(error, request, headers=decision.headers(), is_spent=relay.is_spent)

    return retries.once(request, ask.caller, work)


def betas(request: Any) -> str:
    """Return the `anthropic-beta` header. Raises `InvalidRequest` for one that is no list of names."""
    header = str(request.META.get("HTTP_ANTHROPIC_BETA", "")).strip()
    if header and not _BETAS.fullmatch(header):
        raise InvalidRequest("anthropic-beta: must be up to 32 names, separated by commas", path="anthropic-beta")
    return header


def _whole_number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise InvalidRequest("limit: must be a whole number", path="limit")
    return int(text)
