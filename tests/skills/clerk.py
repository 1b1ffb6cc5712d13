"""A process that does an operator's work on the live gateway's database, one JSON line at a time."""

import json
import os
import sys
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

import django

django.setup()

from kit import clock  # noqa: E402 - only after Django is set up
from tenants import keys, tenants  # noqa: E402 - the same
from tenants.models import ApiKey, Tenant  # noqa: E402 - the same


def issue(*, tenant: str = "live", **options: Any) -> dict[str, Any]:
    owner = Tenant.objects.filter(slug=tenant).first() or tenants.create(
        tenant, name=tenant.title(), monthly_token_budget=1_000_000_000
    )
    given: dict[str, Any] = {
        "name": "a key",
        "monthly_token_budget": 1_000_000_000,
        "requests_per_minute": 10_000,
        "tokens_per_minute": 100_000_000,
        "concurrent_calls": 1000,
        **options,
    }
    issued = keys.issue(owner, now=clock.now(), **given)
    return {"secret": issued.secret, "public_id": issued.key.public_id, "key_id": issued.key.pk}


def revoke(*, public_id: str) -> dict[str, Any]:
    keys.revoke(ApiKey.objects.get(public_id=public_id), reason="a test", now=clock.now())
    return {}


for line in sys.stdin:
    wish = json.loads(line)
    act = {"issue": issue, "revoke": revoke}[wish.pop("act")]
    sys.stdout.write(json.dumps(act(**wish)) + "\n")
    sys.stdout.flush()
