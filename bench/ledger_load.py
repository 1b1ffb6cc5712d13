"""The load of `bench.ledger`: callers that reserve and settle in a closed loop, in a database made for it."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from django.db import connection

from kit import clock, ids, pg
from kit.errors import Unavailable
from tenants import keys as api_keys
from tenants import tenants
from tenants.keys import Caller
from usage import ledger, pricing
from usage.ledger import lanes
from usage.pricing import Tokens

BATCHED = 128


@dataclass(slots=True)
class Measured:
    """What one kind of run gathered over its rounds."""

    reserved: list[float] = field(default_factory=list)
    settled: list[float] = field(default_factory=list)
    elapsed: float = 0.0


def measure(*, callers: list[int], seconds: float, rounds: int) -> list[dict[str, Any]]:
    """Run every combination in turn, `rounds` times, and return the figures of each."""
    with _own_database():
        casts = _casts()
        connection.close()
        kinds = {
            (keys, number, lane): Measured() for keys in casts for number in callers for lane in ("single", "batched")
        }
        for cast in casts.values():
            asyncio.run(_load(cast, Measured(), number=len(cast), seconds=0.5))  # opens this month's accounts
        for _ in range(rounds):
            for (keys, number, lane), measured in kinds.items():
                lanes.MOST_ITEMS = 1 if lane == "single" else BATCHED
                asyncio.run(_load(casts[keys], measured, number=number, seconds=seconds))
    return [_figures(*kind, measured) for kind, measured in kinds.items()]


@contextmanager
def _own_database() -> Iterator[None]:
    before = connection.settings_dict["NAME"]
    connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    try:
        yield
    finally:
        connection.creation.destroy_test_db(before, verbosity=0)


def _casts() -> dict[str, list[Caller]]:
    now = clock.now()
    pricing.load(pricing.SHIPPED, now=now)

    def tenant_with(slug: str, count: int) -> list[Caller]:
        tenant = tenants.create(slug, name=slug, monthly_token_budget=10**12)
        issued = [api_keys.issue(tenant, name=f"key {n}", now=now, monthly_token_budget=10**12) for n in range(count)]
        return [_caller(one.key.pk, tenant.pk, slug) for one in issued]

    return {
        "one key": tenant_with("hot", 1),
        "100 keys, one tenant": tenant_with("wide", 100),
        "100 keys, 100 tenants": [caller for n in range(100) for caller in tenant_with(f"many-{n}", 1)],
    }


def _caller(key_id: int, tenant_id: int, slug: str) -> Caller:
    return Caller(
        key_id=key_id,
        family_id=key_id,
        public_id=f"key_{key_id}",
        name="bench",
        display="",
        tenant_id=tenant_id,
        tenant_slug=slug,
        tenant_timezone="UTC",
        environment="live",
        allowed_skills=frozenset(),
        allowed_verbs=frozenset(),
        allowed_models=frozenset(),
        requests_per_minute=1,
        tokens_per_minute=1,
        concurrent_calls=1,
        expires_at=None,
    )


def _figures(keys: str, callers: int, lane: str, measured: Measured) -> dict[str, Any]:
    return {
        "keys": keys,
        "callers": callers,
        "lane": lane,
        "calls_per_second": round(len(measured.settled) / measured.elapsed, 1),
        "reserve_p50": _percentile(measured.reserved, 50),
        "reserve_p99": _percentile(measured.reserved, 99),
        "settle_p50": _percentile(measured.settled, 50),
        "settle_p99": _percentile(measured.settled, 99),
    }


async def _load(callers: list[Caller], measured: Measured, *, number: int, seconds: float) -> None:
    start = time.perf_counter()
    try:
        await asyncio.gather(*(_caller_loop(callers, n, start + seconds, measured) for n in range(number)))
    finally:
        await pg.close()
    measured.elapsed += time.perf_counter() - start


async def _caller_loop(callers: list[Caller], first: int, end: float, measured: Measured) -> None:
    turn = first
    while time.perf_counter() < end:
        with suppress(Unavailable):  # one call at a time cannot serve 200 callers in time; those count as not done
            await _once(callers[turn % len(callers)], measured)
        turn += 7  # prime to 100: over time every caller meets every key


async def _once(caller: Caller, measured: Measured) -> None:
    admission = ledger.Admission(
        event_id=ids.uuid7(),
        run_id=ids.uuid7(),
        attempt=1,
        purpose="answer",
        request_id="req_bench",
        entry_point="bench",
        skill="complete",
        skill_version=1,
        model="claude-haiku-4-5",
        input_tokens=1000,
        output_tokens=1000,
        micros=6000,
        price_version=1,
    )
    started = time.perf_counter()
    reservation = await ledger.reserve(caller, admission)
    between = time.perf_counter()
    await ledger.settle(reservation, ledger.Closing("settled", Tokens(input=900, output=500), cost_micros=3400))
    measured.reserved.append(between - started)
    measured.settled.append(time.perf_counter() - between)


def _percentile(values: list[float], percent: int) -> float:
    ordered = sorted(values)
    return round(1000 * ordered[min(len(ordered) - 1, len(ordered) * percent // 100)], 2)
