"""Callers for tests of the limits, which need no database."""

from itertools import count
from typing import Any

from tenants.keys import Caller

_ids = count(1_000_000)


def a_caller(**limits: Any) -> Caller:
    """Make a caller of a family of its own."""
    family_id = next(_ids)
    given: dict[str, Any] = {
        "key_id": family_id,
        "family_id": family_id,
        "public_id": f"key_{family_id}",
        "name": "test",
        "display": "sg_live_abcd…wxyz",
        "tenant_id": 1,
        "tenant_slug": "acme",
        "tenant_timezone": "UTC",
        "environment": "live",
        "allowed_skills": frozenset(),
        "allowed_verbs": frozenset(),
        "allowed_models": frozenset(),
        "requests_per_minute": 60,
        "tokens_per_minute": 6000,
        "concurrent_calls": 100,
        "expires_at": None,
    }
    return Caller(**{**given, **limits})
