"""Signing in: password, then the second factor if there is one, the same words for every refusal, and not too often."""

import hashlib
from typing import Any

from django import forms
from django.contrib.auth import user_login_failed
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django_otp import devices_for_user, match_token
from django_ratelimit.core import get_usage
from unfold.widgets import UnfoldAdminTextInputWidget

from console.theme import AuthenticationForm
from kit import redis as kit_redis
from tenants import access
from tenants.api.callers import address
from tenants.models import User

REFUSED = "That did not work. Check your name and password, and the code of your authenticator app if you set one up."
MOST_PER_ADDRESS = "30/m"
MOST_PER_NAME = "100/h"


class SignInForm(AuthenticationForm):
    """Name, password and the code of a second factor, on one page."""

    code = forms.CharField(
        label="Code",
        required=False,
        max_length=16,
        help_text="From your authenticator app, or a recovery code. Leave empty if you have not set one up.",
        widget=UnfoldAdminTextInputWidget({"autocomplete": "one-time-code", "inputmode": "text"}),
    )
    error_messages = {"invalid_login": REFUSED, "inactive": REFUSED}

    def clean(self) -> dict[str, Any]:
        """Refuse whoever came too often, lacks the code, or has no place in the console."""
        self._refuse_if_too_often()
        cleaned: dict[str, Any] = super().clean()
        user = self.get_user()
        if user is not None and any(devices_for_user(user)):
            self._verify(user)
        return cleaned

    def confirm_login_allowed(self, user: AbstractBaseUser) -> None:
        """Let in members of tenants and operators, nobody else."""
        allowed = isinstance(user, User) and user.is_active and (user.is_superuser or access.of(user) is not None)
        if not allowed:
            raise ValidationError(REFUSED, code="invalid_login")

    def _verify(self, user: Any) -> None:
        code = self.cleaned_data.get("code", "").replace(" ", "")
        user.otp_device = match_token(user, code) if code else None
        if user.otp_device is None:
            # Counted like a wrong password: the code is six digits only.
            user_login_failed.send(
                __name__, credentials={"username": user.get_username(), "factor": "code"}, request=self.request
            )
            self.user_cache = None
            raise ValidationError(REFUSED, code="invalid_login")

    def _refuse_if_too_often(self) -> None:
        name = str(self.cleaned_data.get("username", "")).lower()
        for group, subject, rate in (
            ("address", address(self.request), MOST_PER_ADDRESS),
            ("name", name, MOST_PER_NAME),
        ):
            if too_often(f"console.signin.{group}", subject=subject, rate=rate):
                raise ValidationError("Too many attempts. Wait a few minutes, then try again.", code="too_often")


def too_often(group: str, *, subject: str, rate: str) -> bool:
    """Count an attempt and tell whether there were too many.

    Without Redis nothing is counted here; the lock after wrong passwords stands in Postgres.
    """
    digest = hashlib.sha256(subject.encode()).hexdigest()
    try:
        usage = get_usage(None, group=group, key=lambda *_: digest, rate=rate, increment=True)
    except kit_redis.TROUBLE:
        return False
    return bool(usage and usage["should_limit"])


def locked_out(
    request: HttpRequest, _response: HttpResponse | None, _credentials: dict[str, Any] | None
) -> HttpResponse:
    """Answer whoever failed too often; the right password does not help until the time is over."""
    return render(request, "console/locked_out.html", {"title": "Locked"}, status=429)
