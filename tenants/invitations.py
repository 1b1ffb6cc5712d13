"""Asking colleagues in: a link by mail, good once and for three days."""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction

from kit import ids
from kit.errors import Conflict, InvalidRequest, NotFound
from tenants import audit, memberships
from tenants.access import Access
from tenants.models import Invitation, Membership, Tenant, User

LIFETIME = timedelta(days=3)
_TOKEN_LENGTH = 40


@dataclass(frozen=True, slots=True)
class Invited:
    """An invitation with its link's token, which exists nowhere else."""

    invitation: Invitation
    token: str = field(repr=False)


def invite(email: str, *, role: str, by: Access, now: datetime, address: str = "") -> Invited:
    """Invite someone; an open invitation of the same address is replaced.

    Raises `InvalidRequest`, or `NotAllowed` for a role above the inviter's. Whether the address has an
    account already is not told: accepting finds out.
    """
    wanted = memberships.known_role(role)
    memberships.refuse_unless_within(by, role=wanted)
    token = ids.secret(_TOKEN_LENGTH)
    with transaction.atomic():
        Tenant.objects.select_for_update().get(pk=by.tenant.pk)
        Invitation.objects.filter(
            tenant=by.tenant, email=_mail_address(email), accepted_at=None, withdrawn_at=None
        ).update(withdrawn_at=now)
        invitation = Invitation.objects.create(
            tenant=by.tenant,
            email=_mail_address(email),
            role=wanted,
            digest=_digest(token),
            invited_by=by.user.username,
            expires_at=now + LIFETIME,
        )
        _record("member.invited", invitation, actor=by.user.username, address=address, role=str(wanted))
    return Invited(invitation, token)


def withdraw(invitation: Invitation, *, by: Access, now: datetime, address: str = "") -> None:
    """Make an open invitation's link useless; again changes nothing."""
    with transaction.atomic():
        memberships.refuse_unless_within(by, role=invitation.role)
        open_ones = Invitation.objects.filter(pk=invitation.pk, tenant=by.tenant, accepted_at=None, withdrawn_at=None)
        if open_ones.update(withdrawn_at=now):
            _record("member.invitation_withdrawn", invitation, actor=by.user.username, address=address)


def find(token: str, *, now: datetime) -> Invitation:
    """Return the invitation of a link; `NotFound` alike for unknown, used, withdrawn and lapsed."""
    found = (
        Invitation.objects.select_related("tenant")
        .filter(digest=_digest(token), accepted_at=None, withdrawn_at=None, expires_at__gt=now)
        .first()
    )
    if found is None:
        raise NotFound("This invitation is not valid any more. Ask for a new one.")
    return found


def accept(token: str, *, username: str, password: str, now: datetime, address: str = "") -> User:
    """Make the invited person a member. The caller has checked the password's strength.

    Raises `NotFound`, or `Conflict` when the name or the mail address is taken.
    """
    with transaction.atomic():
        invitation = find(token, now=now)
        taken = Invitation.objects.filter(pk=invitation.pk, accepted_at=None, withdrawn_at=None)
        if not taken.update(accepted_at=now):
            raise NotFound("This invitation is not valid any more. Ask for a new one.")
        try:
            with transaction.atomic():
                user = User.objects.create_user(username, invitation.email, password)
        except IntegrityError:
            raise Conflict("This name, or this mail address, has an account already. Choose another name.") from None
        Membership.objects.create(tenant=invitation.tenant, user=user, role=invitation.role)
        _record("member.joined", invitation, actor=user.username, address=address, role=invitation.role)
    return user


def _mail_address(email: str) -> str:
    normal = User.objects.normalize_email(email.strip()).lower()
    try:
        validate_email(normal)
    except ValidationError:
        raise InvalidRequest("Give a mail address such as name@example.com.", field="email") from None
    return normal


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()  # 238 bits of chance need no slow hash


def _record(action: str, invitation: Invitation, *, actor: str, address: str, **details: object) -> None:
    audit.record(action, tenant=invitation.tenant, actor=actor, address=address, subject=invitation.email, **details)
