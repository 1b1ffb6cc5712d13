"""What a caller wants run, and what is settled about it before it is admitted."""

from dataclasses import KW_ONLY
from typing import Any, Literal
from uuid import UUID

from kit.errors import Unavailable
from kit.values import value
from skills import caching, claude, fallbacks, requests, routing
from skills.admission import Purse
from skills.caching import Alone, Found, Lead, Seat
from skills.events import Fallback
from skills.routing import Plan, Route
from skills.versions import Version
from tenants.keys import Caller
from usage.ledger import Purpose

Freshness = Literal["any", "new", "private"]
Place = Found | Lead | Alone | Seat | None


@value
class Order:
    """What a caller wants run. `finishes_alone`: go on although nobody listens (resumable and idempotent calls).

    `run_id` is for who must know it before the run is admitted, to find out what became of it after a breakdown.
    `freshness`, of a skill that keeps answers: `any` takes a kept one, `new` makes the call and has its answer
    kept, `private` makes the call and keeps nothing. `purse` pays for its attempts besides the budgets.
    """

    _: KW_ONLY
    caller: Caller
    version: Version
    input: dict[str, Any]
    entry_point: str
    request_id: str
    max_tokens: int | None = None
    cache_system: bool | None = None
    model: str | None = None
    finishes_alone: bool = False
    run_id: UUID | None = None
    freshness: Freshness = "any"
    purse: Purse | None = None


@value
class First:
    """The first event of a run: what is asked, what for, why of this model; `ahead` are tokens of the attempt after it."""

    _: KW_ONLY
    body: dict[str, Any]
    purpose: Purpose
    route: str
    ahead: int = 0


@value
class Prepared:
    """An order with its request, the choice of its model, and its place among those who want the same answer."""

    _: KW_ONLY
    order: Order
    body: dict[str, Any]
    plan: Plan
    place: Place
    fallback: Fallback | None = None

    @property
    def first(self) -> First:
        """What is to be admitted first: nothing but a place where the answer is handed over."""
        if self.place is not None and isinstance(self.place, Found | Seat):
            return First(body=self.body, purpose="cached", route="cache")
        return self.own

    @property
    def own(self) -> First:
        """What is to be admitted first where the run makes the call itself."""
        if not self.plan.is_open:
            route = self.fallback.route if self.fallback else self.plan.route.booked
            return First(body=self.body, purpose="answer", route=route)
        ahead = requests.input_bound(self.body) + int(self.body["max_tokens"])
        question = routing.question(self.order.version, self.body)
        return First(body=question, purpose="classify", route="by_classifier", ahead=ahead)

    def leave(self, *, refused: BaseException) -> None:
        """Give up the place, for an order that was refused."""
        if isinstance(self.place, Lead) and not isinstance(refused, Unavailable):
            self.place.decline()
        elif isinstance(self.place, Lead | Seat):
            self.place.leave()


async def prepare(order: Order, *, canary: str = "") -> Prepared:
    """Build the request, choose the model and look for a kept answer; nothing is spent by it.

    Raises `InvalidRequest` (with the path of the fault), `NotAllowed` (no allowed model), `Unavailable`.
    """
    body = requests.build(
        order.version,
        order.input,
        max_tokens=order.max_tokens,
        cache_system=order.cache_system,
        model=order.model,
        metadata_user=order.caller.public_id,
        canary=canary,
    )
    if order.model is None:
        plan = await routing.plan(order.caller, order.version, body)
    else:
        plan = Plan(Route(body["model"], reason="The call names it."), {})
    place = await _place(order, body, plan) if keeps_answers(order.version) else None
    if plan.is_open and claude.is_held_back(order.caller, routing.classifying_model()):
        plan = Plan(routing.in_doubt(plan, fallbacks.HELD_BACK), {})
    model, fallback = fallbacks.first(order.caller, order.version, model=plan.route.model)
    return Prepared(order=order, body={**body, "model": model}, plan=plan, place=place, fallback=fallback)


def keeps_answers(version: Version) -> bool:
    """Tell whether a version's answers are kept for the same request again."""
    return bool(version.policy.get("cache"))


async def _place(order: Order, body: dict[str, Any], plan: Plan) -> Place:
    if order.freshness == "private":
        return None
    key = caching.key_of(order.caller, order.version, body, models=plan.models)
    ttl_seconds = order.version.policy["cache"]["ttl_seconds"]
    if order.freshness == "new":
        return await caching.take_over(key, ttl_seconds=ttl_seconds)
    return await caching.enter(key, ttl_seconds=ttl_seconds)
