"""Which model answers a call: by the version's policy, within what key and tenant allow, with the reason in words."""

from dataclasses import replace
from datetime import date
from typing import Any

from django.conf import settings

from kit import clock
from kit.errors import NotAllowed
from kit.values import value
from skills import requests
from skills.admission import refuse_foreign_model
from skills.routing.policy import BY_BUDGET, BY_CLASSIFIER, BY_SIZE, CLASSES, FIXED, IN_DOUBT
from skills.versions import Version
from tenants.keys import Caller
from usage import pricing, remainders
from usage.pricing import Book

_OUT, _IN = 1_000_000, 1_000_000


@value
class Route:
    """The model that answers, by which kind of choice, and why."""

    model: str
    kind: str = FIXED
    reason: str = "The version names it."

    @property
    def booked(self) -> str:
        """What the usage event says of it: nothing for a model that was not chosen."""
        return "" if self.kind == FIXED else f"{self.kind}: {self.reason}"

    def because(self, reason: str) -> "Route":
        """Return the route with another reason."""
        return replace(self, reason=reason)


@value
class Plan:
    """What is known of the choice before anything goes upstream: the route, or those that a classifier chooses among."""

    route: Route
    classes: dict[str, Route]

    @property
    def is_open(self) -> bool:
        """Whether a classifier has still to choose; `route` is then what is taken in doubt."""
        return bool(self.classes)

    @property
    def models(self) -> frozenset[str]:
        """All models that may answer."""
        return frozenset(one.model for one in (self.route, *self.classes.values()))


async def plan(caller: Caller, version: Version, body: dict[str, Any]) -> Plan:
    """Choose the model for a request, or prepare its choice by a classifier.

    A model that key or tenant exclude gives way to the nearest allowed one by price; a fixed one does not, since
    it is no choice. Raises `NotAllowed` when none is left, `Unavailable` without a database where one is asked.
    """
    policy = version.policy.get("routing") or {}
    kind = policy.get("kind", FIXED)
    if kind == BY_SIZE:
        return await _settled(caller, _by_size(policy["sizes"], body))
    if kind == BY_BUDGET:
        left = await remainders.share_left(caller, skill=version.skill)
        return await _settled(caller, _by_budget(policy["budgets"], body["model"], left=left))
    if kind == BY_CLASSIFIER:
        return await _by_classifier(caller, policy)
    return Plan(Route(body["model"]), {})


async def _settled(caller: Caller, route: Route) -> Plan:
    return Plan(await _narrowed(caller, route), {})


def _by_size(sizes: list[dict[str, Any]], body: dict[str, Any]) -> Route:
    bound = requests.input_bound(body)
    for step in sizes:
        if bound <= step["up_to"]:
            reason = f"The input is at most {bound:,} tokens, within {step['up_to']:,}."
            return Route(requests.model_name(step["model"]), BY_SIZE, reason)
    reason = f"The input may be {bound:,} tokens, above {sizes[-1]['up_to']:,}."
    return Route(body["model"], BY_SIZE, reason)


def _by_budget(budgets: list[dict[str, Any]], own: str, *, left: float) -> Route:
    percent = 100 * left
    for step in budgets:
        if percent < step["below_percent"]:
            reason = f"{percent:.0f} % of the month's budget is left, less than {step['below_percent']} %."
            return Route(requests.model_name(step["model"]), BY_BUDGET, reason)
    return Route(own, BY_BUDGET, f"{percent:.0f} % of the month's budget is left.")


async def _by_classifier(caller: Caller, policy: dict[str, Any]) -> Plan:
    aliases = {**CLASSES, **policy.get("models", {})}
    classes = {
        name: await _narrowed(
            caller, Route(requests.model_name(alias), BY_CLASSIFIER, f"The request was classified as {name}.")
        )
        for name, alias in aliases.items()
    }
    in_doubt = classes[IN_DOUBT]
    if len({one.model for one in classes.values()}) == 1:
        return Plan(in_doubt.because("Every class is answered by the same model."), {})
    if not caller.may_use(classifying_model()):
        return Plan(in_doubt.because("The classifier's own model is not allowed to this key."), {})
    return Plan(in_doubt, classes)


def classifying_model() -> str:
    """Name the model that classifies."""
    return requests.model_name("fast")


async def _narrowed(caller: Caller, route: Route) -> Route:
    if caller.may_use(route.model):
        return route
    book, today = await pricing.current(caller.tenant_id), clock.now().date()
    allowed = _allowed(caller, book, today)
    if not allowed:
        refuse_foreign_model(caller, route.model)
    wished = _price(book, route.model, today)
    nearest = min(allowed, key=lambda one: (abs(_price(book, one, today) - wished), _price(book, one, today), one))
    return replace(
        route, model=nearest, reason=f"{route.reason} {route.model} is not allowed to this key, {nearest} is nearest."
    )


def _allowed(caller: Caller, book: Book, today: date) -> list[str]:
    """The platform's own models before all others that have a price."""
    priced = book.priced(on=today)
    own = [model for model in settings.SKILL_MODELS.values() if model in priced]
    return [model for model in own if caller.may_use(model)] or [model for model in priced if caller.may_use(model)]


def _price(book: Book, model: str, today: date) -> int:
    try:
        return book.upper_bound(model, input_tokens=_IN, output_tokens=_OUT, on=today)
    except NotAllowed:  # a model without a price is far from all
        return 0
