"""Safe retries at the edge: with an `Idempotency-Key` a call is made once, and whoever repeats it gets its answer.

The call goes on in a task of its own, so its answer is there for the retry of a client that left.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from kit import loops
from kit.errors import SkillgateError
from kit.middleware import request_id_of
from kit.wire import JSON, JSONAnswer
from skills import idempotency
from skills.idempotency import Claim, Kept, UnderWay
from tenants.keys import Caller

HEADER = "HTTP_IDEMPOTENCY_KEY"
REPLAYED = {"Idempotent-Replayed": "true"}
Result = TypeVar("Result")


class Answer(JSONAnswer):
    """What a call answers; `is_spent` when anything was used upstream for it."""

    is_spent = True


Work = Callable[[], Awaitable[Answer]]


def key_of(request: Request) -> str | None:
    """Return the request's idempotency key; raises `InvalidRequest` for one that cannot be used."""
    key = request.META.get(HEADER)
    return None if key is None else idempotency.checked_key(key)


def failed(error: SkillgateError, request: Request, *, headers: Mapping[str, str], is_spent: bool) -> Answer:
    """Answer with the error a call ended with after something was sent upstream."""
    content = error.envelope(request_id=request_id_of(request))
    answer = Answer(content, status=error.status, headers={**headers, **error.headers})
    answer.is_spent = is_spent
    return answer


def once(request: Request, caller: Caller, work: Work, *, body: Any = None) -> Awaitable[HttpResponseBase]:
    """Answer a request by `work`, at most once for each idempotency key.

    `work` answers what happened after something was sent upstream, and raises what was refused
    before; `body` stands for the request where it is a form. Raises what `work` and `idempotency.claim` raise.
    """
    key = key_of(request)
    if key is None:
        return work()
    said = idempotency.digest(request.path, request.data if body is None else body)
    return detached(_once(caller, key, said, work))


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


async def _once(caller: Caller, key: str, said: bytes, work: Work) -> HttpResponseBase:
    found = await idempotency.claim(caller, key, digest=said)
    if isinstance(found, Kept):
        return HttpResponse(found.content, status=found.status, content_type=found.content_type, headers=REPLAYED)
    if isinstance(found, UnderWay):
        raise idempotency.under_way()
    return await _perform(found, work)


async def _perform(claim: Claim, work: Work) -> Answer:
    try:
        answer = await work()
    except BaseException:
        await idempotency.drop(claim)
        raise
    if answer.is_spent:
        await idempotency.keep(claim, Kept(answer.status_code, JSON, answer.content))
    else:
        await idempotency.drop(claim)
    return answer
