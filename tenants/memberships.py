"""Who works for a tenant, and as what: roles change, people leave, and an owner always remains."""

from django.db import transaction

from kit.errors import Conflict, InvalidRequest, NotAllowed
from tenants import audit
from tenants.access import Access
from tenants.models import Membership, Tenant


def change_role(membership: Membership, *, role: str, by: Access, address: str = "") -> None:
    """Give a colleague another role; only owners make owners or change them.

    Raises `NotAllowed`, `InvalidRequest` for an unknown role, `Conflict` when no owner would remain.
    """
    wanted = known_role(role)
    with transaction.atomic():
        found = _locked(membership, by=by)
        refuse_unless_within(by, role=wanted)
        if found.role == wanted:
            return
        _refuse_if_last_owner(found)
        before, found.role = found.role, wanted
        found.save(update_fields=["role"])
        _record("member.role_changed", found, by=by, address=address, before={"role": before}, after={"role": wanted})
    membership.role = wanted


def remove(membership: Membership, *, by: Access, address: str = "") -> None:
    """End a colleague's access at once. Raises `NotAllowed`, or `Conflict` for the last owner."""
    with transaction.atomic():
        found = _locked(membership, by=by)
        _refuse_if_last_owner(found)
        _record("member.removed", found, by=by, address=address, before={"role": found.role})
        found.delete()


def known_role(role: str) -> Membership.Role:
    """Return a role by its name; raises `InvalidRequest`."""
    if role not in Membership.Role.values:
        raise InvalidRequest(f"A role is one of {', '.join(Membership.Role.values)}.", field="role")
    return Membership.Role(role)


def refuse_unless_within(by: Access, *, role: str) -> None:
    """Raise `NotAllowed` when someone is about to give or take a role that is above them."""
    if not by.may("colleagues.change"):
        raise NotAllowed("Your role may not change who works here.")
    if role == Membership.Role.OWNER and not by.may("colleagues.owners"):
        raise NotAllowed("Only an owner can make someone an owner, or change one.")


def _locked(membership: Membership, *, by: Access) -> Membership:
    Tenant.objects.select_for_update().get(pk=by.tenant.pk)  # one change of a tenant's people at a time
    found = Membership.objects.select_related("user", "tenant").get(pk=membership.pk, tenant=by.tenant)
    refuse_unless_within(by, role=found.role)
    return found


def _refuse_if_last_owner(membership: Membership) -> None:
    others = Membership.objects.filter(
        tenant_id=membership.tenant_id, role=Membership.Role.OWNER, user__is_active=True
    ).exclude(pk=membership.pk)
    if membership.role == Membership.Role.OWNER and not others.exists():
        raise Conflict("This is the last owner. Make someone else an owner first.")


def _record(action: str, membership: Membership, *, by: Access, address: str, **details: object) -> None:
    audit.record(
        action,
        tenant=membership.tenant,
        actor=by.user.username,
        address=address,
        subject=membership.user.username,
        **details,
    )
