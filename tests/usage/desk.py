"""A desk at the ledger: one caller, calls of a given size, and a look at the rows."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from django.db import connection

from kit import ids, pg
from tenants.keys import Caller
from tenants.models import ApiKey, Tenant
from tests.factories import make_key, make_tenant, outside_of_the_loop
from usage import ledger, rows
from usage.ledger import Admission, Closing, Reservation
from usage.pricing import Tokens

MODEL = "claude-haiku-4-5"
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Desk:
    """What a test of the ledger needs at hand."""

    tenant: Tenant
    key: ApiKey
    caller: Caller

    async def reserve(self, tokens: int = 100, **options: Any) -> Reservation:
        """Reserve for one call of this desk's caller."""
        return await ledger.reserve(options.pop("caller", self.caller), ask(tokens, **options))


def open_desk(slug: str = "acme", *, timezone: str = "UTC", tokens: int = 10**9, key_tokens: int = 10**9) -> Desk:
    """Make a tenant with a key and the caller that the key stands for."""
    tenant = make_tenant(slug, timezone=timezone, monthly_token_budget=tokens)
    key = make_key(tenant, monthly_token_budget=key_tokens).key
    return Desk(tenant, key, caller_of(key))


def caller_of(key: ApiKey) -> Caller:
    """Return the caller that authentication would make of a key."""
    return Caller(
        key_id=key.pk,
        family_id=key.family_id or key.pk,
        public_id=key.public_id,
        name=key.name,
        display=key.display,
        tenant_id=key.tenant_id,
        tenant_slug=key.tenant.slug,
        tenant_timezone=key.tenant.timezone,
        environment=key.environment,
        allowed_skills=frozenset(),
        allowed_verbs=frozenset(),
        allowed_models=frozenset(),
        requests_per_minute=key.requests_per_minute,
        tokens_per_minute=key.tokens_per_minute,
        concurrent_calls=key.concurrent_calls,
        expires_at=key.expires_at,
    )


def ask(tokens: int = 100, *, output: int | None = None, **options: Any) -> Admission:
    """Make the question for a call of at most so many tokens, half of them output."""
    output_tokens = tokens // 2 if output is None else output
    asked = Admission(
        event_id=ids.uuid7(),
        run_id=ids.uuid7(),
        attempt=1,
        purpose="answer",
        request_id="req_test",
        entry_point="rest",
        skill="complete",
        skill_version=1,
        model=MODEL,
        input_tokens=tokens - output_tokens,
        output_tokens=output_tokens,
        micros=5 * tokens,
        price_version=1,
    )
    return replace(asked, **options)


def settled(tokens: int, **options: Any) -> Closing:
    """Make the closing of a call that used so many input tokens, at haiku's price."""
    return Closing("settled", Tokens(input=tokens), cost_micros=tokens, **options)


def account(desk: Desk, *, owner: str = "tenant", window: str = "month", skill: str = "") -> dict[str, int]:
    """Read the newest account of the desk's tenant or key."""
    found = look(
        "SELECT reserved_tokens, settled_tokens, reserved_micros, settled_micros FROM usage_budgetaccount"
        ' WHERE tenant_id = %s AND key_id IS NOT DISTINCT FROM %s AND "window" = %s AND skill = %s ORDER BY period DESC',
        [desk.tenant.pk, desk.key.pk if owner == "key" else None, window, skill],
    )
    nothing = {"reserved_tokens": 0, "settled_tokens": 0, "reserved_micros": 0, "settled_micros": 0}
    return found[0] if found else nothing


def events(desk: Desk) -> list[dict[str, Any]]:
    """Read the tenant's events in their order."""
    return look("SELECT * FROM usage_event WHERE tenant_id = %s ORDER BY number", [desk.tenant.pk])


def look(query: str, parameters: list[Any] | None = None) -> list[dict[str, Any]]:
    """Run a statement on Django's connection, in sync and async tests alike."""
    return outside_of_the_loop(lambda: rows.fetch(query, parameters))


def do(query: str, parameters: list[Any] | None = None) -> None:
    """Run a statement that returns nothing."""

    def work() -> None:
        with connection.cursor() as cursor:
            cursor.execute(query, parameters)

    outside_of_the_loop(work)


def lapse(desk: Desk) -> None:
    """Let the leases of the tenant's open events be long over."""
    do(
        "UPDATE usage_event SET lease_until = usage_clock() - interval '5 minutes' WHERE tenant_id = %s AND state = 'open'",
        [desk.tenant.pk],
    )


async def closing_pool(work: Callable[[], Awaitable[Made]]) -> Made:
    """Run async work and close the loop's connections after it, for `asyncio.run`."""
    try:
        return await work()
    finally:
        await pg.close()
