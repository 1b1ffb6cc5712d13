"""Small makers of what a test needs, by the product's own verbs; usable in sync and async tests alike."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any, TypeVar

from django.db import connections

from kit import clock
from tenants import keys, tenants
from tenants.keys import Issued
from tenants.models import Tenant

Made = TypeVar("Made")
_numbers = count(1)


def make_tenant(slug: str = "acme", **options: Any) -> Tenant:
    """Create a tenant with a large budget."""
    given = {"name": slug.title(), "monthly_token_budget": 1_000_000_000, **options}
    return outside_of_the_loop(lambda: tenants.create(slug, **given))


def make_key(tenant: Tenant, **options: Any) -> Issued:
    """Issue a key with generous limits and a large budget."""
    given = {
        "name": f"key {next(_numbers)}",
        "now": clock.now(),
        "monthly_token_budget": 1_000_000_000,
        "requests_per_minute": 10_000,
        "tokens_per_minute": 100_000_000,
        "concurrent_calls": 1000,
        **options,
    }
    return outside_of_the_loop(lambda: keys.issue(tenant, **given))


def outside_of_the_loop(work: Callable[[], Made]) -> Made:
    """Do database work also where an event loop runs, which Django refuses: in a thread, then.

    An async test needs `django_db(transaction=True)`: only what is committed is seen by the thread and by the pool.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return work()
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(_work_and_disconnect, work).result()


def _work_and_disconnect(work: Callable[[], Made]) -> Made:
    try:
        return work()
    finally:
        connections.close_all()
