"""Safe retries at the edge: with an `Idempotency-Key` a call is made once, and whoever repeats it gets its answer.

The call goes on in a task of its own, so its answer is there for the retry of a client that left.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from kit import loops
from kit.errors import SkillgateError
from kit.middleware import request_id_of
from kit.wire import JSON, JSONAnswer, encode
from skills import idempotency
from skills.idempotency import Claim, Kept, UnderWay
from tenants.keys import Caller

HEADER = "Idempotency-Key"
REPLAYED = {"Idempotent-Replayed": "true"}
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call answers: JSON, or an error; `is_spent` when anything was used upstream for it."""

    content: Any = None
    error: SkillgateError | None = None
    headers: dict[str, str] = field(default_factory=dict)
    is_spent: bool = True
    status: int = 200


Work = Callable[[], Awaitable[Answer]]


def key_of(request: Request) -> str | None:
    """Return the request's idempotency key; raises `InvalidRequest` for one that cannot be used."""
    key = request.headers.get(HEADER)
    return None if key is None else idempotency.checked_key(key)


async def once(request: Request, caller: Caller, work: Work, *, body: Any = None) -> HttpResponseBase:
    """Answer a request by `work`, at most once for each idempotency key.

    `work` answers what happened after something was sent upstream, and raises what was refused
    before; `body` stands for the request where it is a form. Raises what `work` and `idempotency.claim` raise.
    """
    key = key_of(request)
    if key is None:
        return _rendered(await work(), request)
    said = idempotency.digest(request.path, request.data if body is None else body)
    return await detached(_once(request, caller, key, said, work))


async def detached(work: Awaitable[Result]) -> Result:
    """Wait for work that goes on when the one who waits is gone."""
    outcome: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
    loops.start(_fulfil(outcome, work), name="a call with an idempotency key")
    return await outcome


async def _fulfil(outcome: "asyncio.Future[Result]", work: Awaitable[Result]) -> None:
    try:
        result = await work
    except Exception as error:  # noqa: BLE001 - it is handed to the one who waits, if anyone does
        if not outcome.done():
            outcome.set_exception(error)
    else:
        if not outcome.done():
            outcome.set_result(result)


async def _once(request: Request, caller: Caller, key: str, said: bytes, work: Work) -> HttpResponseBase:
    found = await idempotency.claim(caller, key, digest=said)
    if isinstance(found, Kept):
        return HttpResponse(found.content, status=found.status, content_type=found.content_type, headers=REPLAYED)
    if isinstance(found, UnderWay):
        raise idempotency.under_way()
    return await _perform(request, found, work)


async def _perform(request: Request, claim: Claim, work: Work) -> HttpResponseBase:
    try:
        answer = await work()
    except BaseException:
        await idempotency.drop(claim)
        raise
    response = _rendered(answer, request)
    if answer.is_spent:
        await idempotency.keep(claim, Kept(response.status_code, JSON, response.content))
    else:
        await idempotency.drop(claim)
    return response


def _rendered(answer: Answer, request: Request) -> HttpResponse:
    status, content, headers = answer.status, answer.content, answer.headers
    if answer.error is not None:
        content = answer.error.envelope(request_id=request_id_of(request))
        status, headers = answer.error.status, {**headers, **answer.error.headers}
    return JSONAnswer(encode(content), status=status, headers=headers)
