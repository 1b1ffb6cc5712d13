"""The people of the demo: alice, bob and fiona of the demo tenant, and mallory of another, who must see nothing of it."""

import secrets
from typing import Any

from tenants import tenants
from tenants.models import Membership, Tenant, User

OTHER_SLUG = "mallory-inc"
_MONTHLY_TOKENS = 1_000_000
_PEOPLE = {
    "alice": Membership.Role.OWNER,
    "bob": Membership.Role.VIEWER,
    "fiona": Membership.Role.FINANCE,
}


def seed(tenant: Tenant, *, known: dict[str, Any]) -> dict[str, str]:
    """See to the people of the demo and return their passwords, as `alice_password` and so on.

    Passwords in `known` that still work are kept.
    """
    other = Tenant.objects.filter(slug=OTHER_SLUG).first() or tenants.create(
        OTHER_SLUG, name="Mallory Inc.", monthly_token_budget=_MONTHLY_TOKENS
    )
    places = {name: (tenant, role) for name, role in _PEOPLE.items()} | {"mallory": (other, Membership.Role.OWNER)}
    return {
        f"{name}_password": _member(name, tenant=place, role=role, known=str(known.get(f"{name}_password", "")))
        for name, (place, role) in places.items()
    }


def _member(name: str, *, tenant: Tenant, role: Membership.Role, known: str) -> str:
    user = User.objects.filter(username=name).first()
    password = known if user is not None and known and user.check_password(known) else secrets.token_urlsafe(12)
    if user is None:
        user = User.objects.create_user(name, f"{name}@example.com", password)
    elif password != known:
        user.set_password(password)
        user.save(update_fields=["password"])
    Membership.objects.get_or_create(user=user, defaults={"tenant": tenant, "role": role})
    return password
