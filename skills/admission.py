"""Whether a call may go upstream: rate limits first, then a place towards Claude, then budgets, by a safe upper bound.

The place comes before the reservation: a call that waits for it, or is refused for want of one, holds no budget and
leaves no event that would claim an upstream call. Where the limits will hardly refuse, both are begun while the limits
are asked, and undone if they refuse after all (docs/decisions/0010).

Only when the bound does not fit a budget any more is Claude asked for the exact count, so that
the last tokens of a budget can be used without slowing every call.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol, TypeVar
from uuid import UUID

from django.conf import settings

from kit import clock, ids
from kit.errors import BudgetExceeded, NotAllowed, SkillgateError
from skills import claude, requests
from skills.claude import Place
from tenants import limits
from tenants.keys import Caller
from tenants.limits import refusals
from usage import ledger, pricing
from usage.ledger import Admission, Purpose, Reservation
from usage.pricing import Book

UNLIMITED_CHARACTERS = 4_096  # looking through so much costs no more than reading the request did
Seen = TypeVar("Seen")


class Purse(Protocol):
    """What pays for all attempts of a call besides the budgets, such as its part of an envelope."""

    async def cover(self, asked: Admission) -> None:
        """Hold what one more attempt can use at most; raises `BudgetExceeded`."""

    def spend(self, *, tokens: int, micros: int) -> None:
        """Note what an attempt used."""


@dataclass(slots=True)
class Admitted:
    """An admitted call: its first usage event, the state of the rate limits, and the prices it is booked at.

    `taken` are the tokens that were taken from the rate limit for it.
    """

    caller: Caller
    reservation: Reservation
    decision: limits.Decision
    book: Book
    call_id: str
    taken: int
    attempts: int = 1
    place: Place | None = None  # of the attempt that was admitted last; an answer from the cache has none
    purse: Purse | None = None
    call: "claude.Call | None" = None  # of the first attempt: ready to be sent


class _Begun(NamedTuple):
    """An attempt that is not admitted yet: its place, its request, which is made ready, its reservation on its way."""

    place: Place
    call: "claude.Call"
    reserving: ledger.Reserving

    def forgo(self) -> None:
        self.reserving.forgo()
        self.call.drop()
        self.place.leave()


async def admit(
    caller: Caller,
    body: dict[str, Any],
    *,
    run_id: UUID,
    request_id: str,
    entry_point: str,
    skill: str,
    skill_version: int | None,
    purpose: Purpose = "answer",
    route: str = "",
    ahead: int = 0,
    input_tokens: int | None = None,
    purse: Purse | None = None,
    headers: Mapping[str, str] | None = None,
    book: Book | None = None,
) -> Admitted:
    """Take the rate limits and reserve the budget for one call; an answer from the cache needs none.

    `ahead` are tokens that the rate limit has to have for an attempt after this one; its budget is reserved then.
    `input_tokens` are Claude's own count of the input, where it was asked for already; `book` are the prices, where
    they were.
    Raises `RateLimited`, `BudgetExceeded`, `AuthenticationFailed`, `NotAllowed` (a model without a price, or that
    the key may not use) or `Unavailable`; a refused call consumes nothing.
    """
    model = body["model"]
    refuse_foreign_model(caller, model)
    book = book or await pricing.current(caller.tenant_id)
    read, written = (0, 0) if purpose == "cached" else (input_tokens or requests.input_bound(body), body["max_tokens"])
    asked = Admission(
        event_id=ids.uuid7(),
        run_id=run_id,
        attempt=1,
        purpose=purpose,
        request_id=request_id,
        entry_point=entry_point,
        skill=skill,
        skill_version=skill_version,
        model=model,
        input_tokens=read,
        output_tokens=written,
        micros=book.upper_bound(model, input_tokens=read, output_tokens=written, on=clock.now().date()),
        price_version=book.version,
        route=route,
    )
    call_id = str(run_id)
    taken = read + written + ahead
    begun = None
    if purse is None and purpose != "cached" and limits.expects_room(caller, tokens=taken):
        begun = _begin(caller, asked, body, headers=headers)
    try:
        decision = await limits.take(caller, tokens=taken, call_id=call_id)
    except BaseException:
        if begun is not None:
            begun.forgo()
        raise
    try:
        place, call, reservation = await _entered(
            caller, asked, body, book=book, purse=purse, headers=headers, begun=begun
        )
    except BaseException:
        await limits.cancel(caller, call_id=call_id)
        raise
    return Admitted(
        caller,
        reservation,
        decision=decision,
        book=book,
        call_id=call_id,
        taken=taken,
        place=place,
        purse=purse,
        call=call,
    )


async def screened(caller: Caller, look: Callable[[], Awaitable[Seen]], *, characters: int) -> Seen:
    """Look through what a call brings, before it is admitted; raises what `look` raises.

    Looking through much takes time, so it is done under the key's rate limits, and a call that is refused for what it
    brings counts as one; otherwise it could be refused again and again for nothing. Raises `RateLimited` too.
    """
    if characters <= UNLIMITED_CHARACTERS:
        return await look()
    call_id = f"screening {ids.uuid7()}"
    await limits.take(caller, tokens=0, call_id=call_id)
    try:
        seen = await look()
    except BaseException:
        await limits.release(caller, call_id=call_id)
        raise
    await limits.cancel(caller, call_id=call_id)  # the call itself is about to be admitted
    return seen


async def admit_again(
    admitted: Admitted, body: dict[str, Any], *, purpose: Purpose = "answer", route: str | None = None
) -> Reservation:
    """Reserve the budget for one more attempt of an admitted run, by the model that `body` names.

    A retry and a fallback are attempts at the answer like the first; a `route` of None is that of the first.
    Raises what the ledger's `reserve` raises, and `NotAllowed` and `Unavailable` as `admit` does.
    """
    before = admitted.reservation.admission
    refuse_foreign_model(admitted.caller, body["model"])
    asked = replace(
        before,
        event_id=ids.uuid7(),
        attempt=admitted.attempts + 1,
        purpose=purpose,
        model=body["model"],
        route=before.route if route is None else route,
        input_tokens=requests.input_bound(body),
        output_tokens=body["max_tokens"],
    )
    asked = _priced(asked, book=admitted.book)
    place = await claude.enter(admitted.caller, asked.model)
    reservation = await _reserve(admitted.caller, asked, body, book=admitted.book, place=place, purse=admitted.purse)
    admitted.attempts += 1
    admitted.place = place
    return reservation


async def admit_after_all(
    admitted: Admitted, body: dict[str, Any], *, purpose: Purpose, route: str, ahead: int = 0
) -> Reservation:
    """Admit the call of a run that was to get its answer from the cache, and did not.

    The rate limits are taken anew, for as much as the call can use. Raises what `admit` raises.
    """
    taken = requests.input_bound(body) + int(body["max_tokens"]) + ahead
    await limits.cancel(admitted.caller, call_id=admitted.call_id)
    admitted.decision = await limits.take(admitted.caller, tokens=taken, call_id=admitted.call_id)
    admitted.taken = taken
    return await admit_again(admitted, body, purpose=purpose, route=route)


def refuse_foreign_model(caller: Caller, model: str) -> None:
    """Raise `NotAllowed`, naming what is allowed, for a model that the key or its tenant excludes."""
    if not caller.may_use(model):
        allowed = sorted(caller.models)
        named = ", ".join(allowed) or "none"
        raise NotAllowed(
            f"This key may not use the model {model[:80]!r}. Allowed by key and tenant: {named}. Ask the tenant's admin.",
            reason="model_not_allowed",
            model=model[:80],
            allowed_models=allowed,
        )


def _begin(
    caller: Caller, asked: Admission, body: dict[str, Any], *, headers: Mapping[str, str] | None
) -> _Begun | None:
    place = claude.enter_at_once(caller, asked.model)
    if place is None:
        return None
    reserving = ledger.Reserving(caller, asked)
    return _Begun(place, _prepared(asked, body, place=place, headers=headers), reserving)


def _prepared(
    asked: Admission, body: dict[str, Any], *, place: Place, headers: Mapping[str, str] | None
) -> "claude.Call":
    """Make the call, which gets ready to be sent while Postgres is at work: after what asks it."""
    call = claude.Call(body, place=place, reference=str(asked.event_id), headers=headers)
    loop = asyncio.get_running_loop()
    loop.call_soon(loop.call_soon, call.make_ready)
    return call


async def _entered(
    caller: Caller,
    asked: Admission,
    body: dict[str, Any],
    *,
    book: Book,
    purse: Purse | None,
    headers: Mapping[str, str] | None,
    begun: _Begun | None,
) -> tuple[Place | None, "claude.Call | None", Reservation]:
    """Take a place, have the call made ready and reserve, as far as that is not begun; the cache needs only the last."""
    place, call, reserving = begun or (None, None, None)
    if begun is None and asked.purpose != "cached":
        place = await claude.enter(caller, asked.model)
        call = _prepared(asked, body, place=place, headers=headers)
    try:
        reservation = await _reserve(caller, asked, body, book=book, place=place, purse=purse, reserving=reserving)
    except BaseException:
        if call is not None:
            call.drop()
        raise
    if call is not None and reservation.admission is not asked:  # asked closely: it would go by another name
        call.drop()
        call = None
    return place, call, reservation


async def _reserve(
    caller: Caller,
    asked: Admission,
    body: dict[str, Any],
    *,
    book: Book,
    place: Place | None,
    purse: Purse | None,
    reserving: ledger.Reserving | None = None,
) -> Reservation:
    try:
        if purse is not None:
            await purse.cover(asked)
        try:
            return await (reserving or ledger.Reserving(caller, asked)).done()
        except BudgetExceeded as refused:
            asked = await _asked_closely(refused, caller, asked, body, book=book)
        return await ledger.reserve(caller, asked)
    except BaseException as refused:
        if place is not None:
            place.leave()
        if isinstance(refused, BudgetExceeded):  # counted here, once, however often the ledger was asked
            refusals.count(caller, reason=str(refused.details["reason"]), now=clock.now())
        raise


async def _asked_closely(
    refused: BudgetExceeded, caller: Caller, asked: Admission, body: dict[str, Any], *, book: Book
) -> Admission:
    """Bound what was refused by Claude's own count of the input; raises `refused` where that does not help."""
    exact = await _counted(caller, body) if refused.details.get("reason") == "budget_exceeded" else None
    if exact is None or exact >= asked.input_tokens:
        raise refused
    return _priced(replace(asked, event_id=ids.uuid7(), input_tokens=exact), book=book)


async def _counted(caller: Caller, body: dict[str, Any]) -> int | None:
    try:
        count = await claude.count_tokens(body, caller=caller)
    except SkillgateError:
        return None
    return count + int(count * settings.COUNT_MARGIN_PERCENT / 100)


def _priced(asked: Admission, *, book: Book) -> Admission:
    bound = book.upper_bound(
        asked.model, input_tokens=asked.input_tokens, output_tokens=asked.output_tokens, on=clock.now().date()
    )
    return replace(asked, micros=bound)
