"""The cast: alice (owner), ada (admin), fiona (finance) and bob (viewer) of Acme, mallory (owner) of another tenant."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from pytest_django import Settings

from skills.catalog import Content
from tenants.keys import Issued
from tenants.models import Membership, Tenant, User
from tests.console.browsing import browser  # noqa: F401 - a fixture
from tests.factories import make_key, make_tenant

PASSWORD = "correct horse battery staple"
ROLES = {"alice": "owner", "ada": "admin", "fiona": "finance", "bob": "viewer"}


@dataclass(frozen=True)
class Cast:
    """Two tenants with their people and a key each."""

    acme: Tenant
    other: Tenant
    users: dict[str, User]
    key: Issued
    other_key: Issued

    def client(self, name: str) -> Client:
        """Sign someone in."""
        client = Client()
        client.force_login(self.users[name], backend="django.contrib.auth.backends.ModelBackend")
        return client


@pytest.fixture
def cast(db: None) -> Cast:
    acme, other = make_tenant("acme"), make_tenant("globex")
    users = {name: member(name, tenant=acme, role=role) for name, role in ROLES.items()}
    users["mallory"] = member("mallory", tenant=other, role="owner")
    users["olga"] = User.objects.create_superuser("olga", "olga@example.com", PASSWORD)
    return Cast(acme, other, users, make_key(acme, name="acme key"), make_key(other, name="globex key"))


def content(**changes: Any) -> Content:
    """A skill that shortens a text."""
    basis: dict[str, Any] = {
        "description": "Shortens a text.",
        "input_schema": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
        "model": "fast",
        "max_tokens": 200,
        "max_tokens_ceiling": 400,
        "system": "Summarize the text.",
        "template": "<text>\n{{ text }}\n</text>\n\nSummarize the text in at most 20 words.",
    }
    return Content(**{**basis, **changes})


def member(name: str, *, tenant: Tenant, role: str) -> User:
    user = User.objects.create_user(name, f"{name}@example.com", PASSWORD)
    Membership.objects.create(tenant=tenant, user=user, role=role)
    return user


@pytest.fixture(autouse=True)
def _quick_passwords(settings: Settings) -> None:
    """A slow hash is the point in production and a minute here."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(autouse=True)
def _empty_cache() -> Iterator[None]:
    """Attempts to sign in are counted there."""
    cache.clear()
    yield
    cache.clear()
