"""A process that does an operator's work on the live gateway's database, one JSON line at a time."""

import json
import os
import sys
from collections.abc import Callable
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

import django

django.setup()

from django.core.management import call_command  # noqa: E402 - only after Django is set up

from kit import clock  # noqa: E402 - only after Django is set up
from skills import catalog  # noqa: E402 - the same
from skills.models import Skill  # noqa: E402 - the same
from skills.versions import Content  # noqa: E402 - the same
from tenants import keys, tenants  # noqa: E402 - the same
from tenants.models import ApiKey, Tenant  # noqa: E402 - the same


def prepare() -> dict[str, Any]:
    """Load what is shipped: skills and prices."""
    for command in ("load_skills", "load_prices"):
        call_command(command, verbosity=0, stdout=sys.stderr)
    return {}


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


def publish(*, tenant: str, name: str, **content: Any) -> dict[str, Any]:
    """Publish the next version of a skill of the tenant's, and make it production."""
    given = {
        "description": "Says something about a text.",
        "input_schema": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
        "model": "balanced",
        "max_tokens": 400,
        "max_tokens_ceiling": 4_000,
        "template": "{{ text }}",
        **content,
    }
    owner = Tenant.objects.get(slug=tenant)
    skill, _ = Skill.objects.get_or_create(tenant=owner, name=name, defaults={"description": "A test's."})
    version = catalog.publish(skill, content=Content(**given), created_by="test")
    catalog.point(skill, label="production", version=version.number, actor="test")
    return {"number": version.number}


ACTS: dict[str, Callable[..., dict[str, Any]]] = {
    "issue": issue,
    "prepare": prepare,
    "publish": publish,
    "revoke": revoke,
}
for line in sys.stdin:
    wish = json.loads(line)
    sys.stdout.write(json.dumps(ACTS[wish.pop("act")](**wish)) + "\n")
    sys.stdout.flush()
