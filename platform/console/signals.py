"""Who signed in, out, or was refused: written to the audit log by what Django says when it happens."""

from typing import Any

from axes.signals import user_locked_out
from django.contrib.auth import user_logged_in, user_logged_out, user_login_failed
from django.db.models import Q

from tenants import access, audit
from tenants.api.callers import address
from tenants.models import Tenant, User


def connect() -> None:
    """Listen from now on."""
    user_logged_in.connect(_signed_in, dispatch_uid="console.signed_in")
    user_logged_out.connect(_signed_out, dispatch_uid="console.signed_out")
    user_login_failed.connect(_refused, dispatch_uid="console.sign_in_refused")
    user_locked_out.connect(_locked_out, dispatch_uid="console.locked_out")


def _signed_in(user: User, request: Any = None, **_: Any) -> None:
    factor = "password and code" if getattr(user, "otp_device", None) else "password"
    _record("session.opened", tenant=_tenant_of(user), actor=user.username, request=request, factor=factor)


def _signed_out(user: User | None, request: Any = None, **_: Any) -> None:
    if user is not None:
        _record("session.closed", tenant=_tenant_of(user), actor=user.username, request=request)


def _refused(credentials: dict[str, Any], request: Any = None, **_: Any) -> None:
    name = readable(str(credentials.get("username", "")))
    user = User.objects.filter(username=name).first()
    _record(
        "session.refused",
        tenant=_tenant_of(user) if user else None,
        actor=name or "anonymous",
        request=request,
        factor=str(credentials.get("factor", "password")),
    )


def _locked_out(username: str | None = None, request: Any = None, **_: Any) -> None:
    name = readable(str(username or ""))
    user = User.objects.filter(username=name).first()
    _record("session.locked", tenant=_tenant_of(user) if user else None, actor=name or "anonymous", request=request)


def readable(text: str) -> str:
    """Make what a stranger typed fit for a log: printable and short."""
    return "".join(letter if letter.isprintable() else "·" for letter in text[:200])


def _tenant_of(user: User) -> Tenant | None:
    found = access.of(user)
    return found.tenant if found else Tenant.objects.filter(Q(memberships__user=user)).first()


def _record(action: str, *, tenant: Tenant | None, actor: str, request: Any, **details: Any) -> None:
    audit.record(
        action,
        tenant=tenant,
        actor=actor,
        address=address(request) if request is not None else "",
        subject=actor,
        **details,
    )
