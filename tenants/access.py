"""What each role of a tenant may do: one table, read by everything that shows or changes something for people."""

from dataclasses import dataclass

from tenants.models import Membership, Tenant, User

_OWNER, _ADMIN, _FINANCE, _VIEWER = Membership.Role
_EVERYONE = frozenset({_OWNER, _ADMIN, _FINANCE, _VIEWER})
_ADMINS = frozenset({_OWNER, _ADMIN})

TABLE: dict[str, frozenset[Membership.Role]] = {
    "overview.see": _EVERYONE,
    "keys.see": _EVERYONE,
    "keys.issue": _ADMINS,
    "keys.change": _ADMINS,
    "keys.revoke": _ADMINS,
    "budgets.see": _EVERYONE,
    "budgets.change": _ADMINS,
    "settings.see": _EVERYONE,
    "settings.change": _ADMINS,
    "settings.provider_key": frozenset({_OWNER}),
    "colleagues.see": _ADMINS,
    "colleagues.change": _ADMINS,
    "colleagues.owners": frozenset({_OWNER}),
    "audit.see": frozenset({_OWNER, _ADMIN, _FINANCE}),
    "reports.see": frozenset({_OWNER, _ADMIN, _FINANCE}),
    "months.close": frozenset({_OWNER, _FINANCE}),
    "skills.see": _EVERYONE,
    "skills.author": _ADMINS,
    "skills.gate": frozenset({_OWNER}),
    "skills.override": frozenset({_OWNER}),
    "playground.use": _ADMINS,
    "analyses.see": _EVERYONE,
    "analyses.retry": _ADMINS,
    "webhooks.see": _EVERYONE,
    "webhooks.change": _ADMINS,
}


@dataclass(frozen=True, slots=True)
class Access:
    """A person at work for a tenant in a role."""

    user: User
    tenant: Tenant
    role: Membership.Role

    def may(self, right: str) -> bool:
        """Tell whether the role has a right of `TABLE`; an unknown right is a KeyError."""
        return self.role in TABLE[right]


def of(user: object) -> Access | None:
    """Return what a signed-in member of a tenant may do; None for everyone else.

    Operators look after all tenants in their own place and are members of none here.
    """
    if not isinstance(user, User) or not user.is_active or user.is_superuser:
        return None
    membership = Membership.objects.select_related("tenant").filter(user=user).first()
    return Access(user, membership.tenant, Membership.Role(membership.role)) if membership else None
