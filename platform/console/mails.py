"""The mails that the console sends; every link leads to the platform's own address, whatever the request said."""

from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.core.mail import send_mail
from django.db import transaction
from django.urls import reverse
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from tenants.invitations import Invited
from tenants.models import User


def send_invitation(invited: Invited) -> None:
    """Mail an invitation's link, once what made it is committed."""
    invitation = invited.invitation
    link = _link("admin:accept_invitation", invited.token)
    text = (
        f"{invitation.invited_by} invites you to {invitation.tenant.name} on Skillgate, as {invitation.role}.\n\n"
        f"Join here, until {invitation.expires_at:%d %B %Y %H:%M} UTC:\n\n{link}\n"
    )
    _send(f"Join {invitation.tenant.name} on Skillgate", text, to=invitation.email)


def send_reset_links(users: Iterable[User], *, tokens: Any) -> None:
    """Mail each a link with which to choose a new password."""
    for user in users:
        uid = urlsafe_base64_encode(force_bytes(user.pk))
        link = _link("admin:password_reset_confirm", uid, tokens.make_token(user))
        text = f"Someone asked to reset the password of {user.username}. If it was you, choose a new one:\n\n{link}\n"
        _send("Your password on Skillgate", text, to=user.email)


def _link(name: str, *parts: str) -> str:
    return f"{settings.BASE_URL.rstrip('/')}{reverse(name, args=parts)}"


def _send(subject: str, text: str, *, to: str) -> None:
    line = " ".join(subject.split())
    transaction.on_commit(lambda: send_mail(line, text, None, [to]), robust=True)
