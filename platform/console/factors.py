"""The second factor: an authenticator app, and recovery codes for the day it is lost."""

import base64
from dataclasses import dataclass
from typing import Any

import django_otp
import segno
from django.db import transaction
from django.utils.safestring import SafeString, mark_safe
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice

from kit import ids
from tenants import access, audit
from tenants.api.callers import address
from tenants.models import User

_RECOVERY_CODES = 8
_NAME = "authenticator"


@dataclass(frozen=True, slots=True)
class Setup:
    """What an authenticator app needs: as a picture to scan, and to type."""

    picture: SafeString
    secret: str


def confirmed(user: User) -> bool:
    """Tell whether someone has a second factor."""
    return bool(TOTPDevice.objects.filter(user=user, confirmed=True).exists())


def setup(user: User) -> Setup:
    """Return a new secret to set an app up with; the same until it is confirmed."""
    device, _ = TOTPDevice.objects.get_or_create(user=user, confirmed=False, defaults={"name": _NAME})
    picture = segno.make(device.config_url, micro=False).svg_inline(
        scale=5, border=2, dark="#0f172a", light="#ffffff", title="QR code for your authenticator app"
    )
    secret = base64.b32encode(device.bin_key).decode().rstrip("=")
    return Setup(mark_safe(picture), secret)  # noqa: S308 - segno draws it from our own address


def confirm(user: User, *, code: str, request: Any) -> list[str]:
    """Put the second factor in force and return its recovery codes, shown once; [] for a wrong code."""
    device = TOTPDevice.objects.filter(user=user, confirmed=False).first()
    if device is None or not device.verify_token(code):
        return []
    codes = [ids.secret(10).lower() for _ in range(_RECOVERY_CODES)]
    with transaction.atomic():
        device.confirmed = True
        device.save(update_fields=["confirmed"])
        StaticDevice.objects.filter(user=user).delete()
        recovery = StaticDevice.objects.create(user=user, name="recovery")
        for code_ in codes:
            recovery.token_set.create(token=code_)
        _record("second_factor.added", user, request=request)
    django_otp.login(request, device)
    return codes


def remove(user: User, *, code: str, request: Any) -> bool:
    """Take the second factor down if the code is right."""
    if django_otp.match_token(user, code) is None:
        return False
    with transaction.atomic():
        TOTPDevice.objects.filter(user=user).delete()
        StaticDevice.objects.filter(user=user).delete()
        _record("second_factor.removed", user, request=request)
    return True


def _record(action: str, user: User, *, request: Any) -> None:
    found = access.of(user)
    audit.record(
        action,
        tenant=found.tenant if found else None,
        actor=user.username,
        address=address(request),
        subject=user.username,
    )
