"""The demo tenant: made once, found again on every later start."""

import json
import secrets
from datetime import datetime
from pathlib import Path
from typing import Any

from console import demo_people
from tenants import keys, tenants
from tenants.keys.form import digests
from tenants.models import ApiKey, Tenant, User

SLUG = "demo"
OWNER = "alice"
OPERATOR = "operator"
_MONTHLY_TOKENS = 10_000_000


def seed(*, known: dict[str, Any], now: datetime) -> dict[str, str]:
    """See to the demo tenant, its key, its people and an operator, and return how to use them.

    `known` is what it returned before; a key and a password that still work are kept, since only
    their digests are stored.
    """
    tenant = Tenant.objects.filter(slug=SLUG).first() or tenants.create(
        SLUG, name="Demo", timezone="Europe/Berlin", monthly_token_budget=_MONTHLY_TOKENS
    )
    people = demo_people.seed(tenant, known={**known, f"{OWNER}_password": known.get("admin_password", "")})
    return {
        "tenant": tenant.slug,
        "api_key": _key(tenant, known=str(known.get("api_key", "")), now=now),
        "admin_user": OWNER,
        "admin_password": people.pop(f"{OWNER}_password"),
        "operator_user": OPERATOR,
        "operator_password": _password(known=str(known.get("operator_password", ""))),
        **people,
    }


def remembered(file: Path) -> dict[str, Any]:
    """Read what an earlier start wrote; {} when there is nothing readable."""
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _key(tenant: Tenant, *, known: str, now: datetime) -> str:
    if (
        known
        and ApiKey.objects.filter(
            digest__in=list(digests(known).values()), tenant=tenant, revoked_at=None, expires_at=None
        ).exists()
    ):
        return known
    issued = keys.issue(
        tenant,
        name="demo",
        now=now,
        monthly_token_budget=_MONTHLY_TOKENS,
        requests_per_minute=600,
        tokens_per_minute=2_000_000,
        concurrent_calls=100,
    )
    return issued.secret


def _password(*, known: str) -> str:
    user = User.objects.filter(username=OPERATOR).first()
    if user is not None and known and user.check_password(known):
        return known
    password = secrets.token_urlsafe(12)
    if user is None:
        User.objects.create_superuser(OPERATOR, f"{OPERATOR}@example.com", password)
    else:
        user.set_password(password)
        user.save(update_fields=["password"])
    return password
