"""The skill endpoints: authenticate, parse, one call into the domain, render."""

from collections.abc import Awaitable
from typing import Any

from django.http.response import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from kit.errors import NotAllowed, NotFound, SkillgateError
from kit.rest import AsyncAPIView, respond
from skills import catalog, runs
from skills.api import bodies, documentation, rendering, retries
from skills.api.retries import Answer
from skills.events import RunCompleted
from skills.orders import Freshness
from skills.versions import Version
from tenants.api import callers
from tenants.keys import Caller


def answer(request: Request, order: runs.Order) -> Awaitable[HttpResponseBase]:
    """Run an order to its end and render the answer with limit headers; a repeated one only once."""

    async def work() -> Answer:
        run = await runs.start(order)

        def rendered(done: RunCompleted) -> Answer:
            headers = {**run.admitted.decision.headers(), **rendering.cache_header(done.cache)}
            return Answer(rendering.completed(done, version=order.version, model=run.model), headers=headers)

        try:
            return await runs.rendered(run, rendered)
        except SkillgateError as error:
            return retries.failed(error, request, headers=run.admitted.decision.headers(), is_spent=run.is_spent)

    return retries.once(request, order.caller, work)


async def resolve(caller: Caller, name: str, *, label: str | None = None, version: int | None = None) -> Version:
    """Find the version a caller's run gets; a skill outside the key's scope is refused by name."""
    found = await catalog.resolve(caller.tenant_id, name, label=label, version=version, sticky=str(caller.family_id))
    if not caller.may_run(found.skill):
        raise NotAllowed(f"This key may not run the skill {found.skill!r}. Ask the tenant's admin for the scope.")
    return found


class SkillsView(AsyncAPIView):
    """Which skills there are."""

    @extend_schema(operation_id="list_skills", responses=documentation.SKILLS, tags=["skills"])
    async def get(self, request: Request) -> Response:
        """List the skills this key may call."""
        caller = await callers.of_request(request, verb="read", fresh=True)
        described = await catalog.describe(caller.tenant_id)
        return respond({"data": [one for one in described if caller.may_run(one["name"])]}, request=request)


class SkillView(AsyncAPIView):
    """One skill: what it takes and gives, and running it."""

    @extend_schema(operation_id="get_skill", responses=documentation.SKILL, tags=["skills"])
    async def get(self, request: Request, name: str) -> Response:
        """Show a skill with its input and output schemas."""
        caller = await callers.of_request(request, verb="read", fresh=True)
        described = await catalog.describe_one(caller.tenant_id, name)
        if not caller.may_run(described["name"]):
            raise NotFound(f"There is no skill named {name[:64]!r}.")
        return respond(described, request=request)

    @extend_schema(
        operation_id="run_skill",
        parameters=[documentation.IDEMPOTENCY_KEY, documentation.CACHE_CONTROL],
        request=documentation.body(bodies.RUN),
        responses=documentation.RUN,
        tags=["skills"],
    )
    async def post(self, request: Request, name: str) -> HttpResponseBase:
        """Run a skill and wait for its answer."""
        caller = await callers.of_request(request, verb="run")
        body = bodies.check(bodies.RUN, request.data)
        version = await resolve(caller, name, label=body.get("label"), version=body.get("version"))
        return await answer(request, order(request, caller, version, body))


class CompletionsView(AsyncAPIView):
    """The skill `chat` under a name that chat clients know."""

    @extend_schema(
        operation_id="create_completion",
        parameters=[documentation.IDEMPOTENCY_KEY, documentation.CACHE_CONTROL],
        request=documentation.body(bodies.COMPLETION),
        responses=documentation.COMPLETION,
        tags=["skills"],
    )
    async def post(self, request: Request) -> HttpResponseBase:
        """Run `chat` on messages and wait for its answer."""
        caller = await callers.of_request(request, verb="run")
        body = bodies.check(bodies.COMPLETION, request.data)
        version = await resolve(caller, "chat")
        given = {name: body[name] for name in ("messages", "system") if name in body}
        return await answer(request, order(request, caller, version, {**body, "input": given}))


def order(
    request: Any, caller: Caller, version: Version, body: dict[str, Any], *, entry_point: str = "rest"
) -> runs.Order:
    """Make the order for a checked body."""
    return runs.Order(
        caller=caller,
        version=version,
        input=body["input"],
        entry_point=entry_point,
        request_id=request.request_id,
        max_tokens=body.get("max_tokens"),
        cache_system=body.get("cache_system"),
        freshness=freshness(request.META.get("HTTP_CACHE_CONTROL", "")),
    )


def freshness(cache_control: str) -> Freshness:
    """Read what a caller wants of kept answers: `no-store` keeps nothing, `no-cache` asks anew."""
    if not cache_control:
        return "any"
    wanted = {part.strip().lower() for part in cache_control.split(",")}
    return "private" if "no-store" in wanted else "new" if "no-cache" in wanted else "any"
