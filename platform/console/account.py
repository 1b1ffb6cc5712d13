"""One's own account: the second factor, a forgotten password, and joining by an invitation."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib.auth import views
from django.contrib.auth.forms import PasswordResetForm, SetPasswordForm
from django.contrib.auth.password_validation import password_validators_help_texts, validate_password
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import URLPattern, path, reverse_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.debug import sensitive_post_parameters
from unfold.widgets import UnfoldAdminEmailInputWidget, UnfoldAdminPasswordWidget, UnfoldAdminTextInputWidget

from console import factors, mails, pages, signin
from console.forms import posted
from kit import clock
from kit.errors import NotFound, SkillgateError
from tenants import invitations
from tenants.api.callers import address
from tenants.models import User

RESETS_PER_ADDRESS = "10/h"


def public_urls() -> list[URLPattern]:
    """Return the addresses of the tenants' site that need no signing in."""
    return [
        path("password-reset/", PasswordReset.as_view(), name="password_reset"),
        path("password-reset/sent/", PasswordResetSent.as_view(), name="password_reset_sent"),
        path("password-reset/<uidb64>/<token>/", PasswordResetConfirm.as_view(), name="password_reset_confirm"),
        path("password-reset/done/", PasswordResetDone.as_view(), name="password_reset_done"),
        path("invitations/<str:token>/", accept_invitation, name="accept_invitation"),
    ]


class CodeForm(forms.Form):
    """The code of an authenticator app."""

    code = forms.CharField(
        max_length=16, widget=UnfoldAdminTextInputWidget({"autocomplete": "one-time-code", "inputmode": "numeric"})
    )


def second_factor(request: HttpRequest) -> HttpResponseBase:
    """Show how the second factor stands, and set it up or take it down."""
    user: Any = request.user
    form = CodeForm(posted(request))
    recovery_codes: list[str] = []
    if request.method == "POST" and form.is_valid():
        code = form.cleaned_data["code"].replace(" ", "")
        if factors.confirmed(user):
            if factors.remove(user, code=code, request=request):
                return redirect(request.path)
        else:
            recovery_codes = factors.confirm(user, code=code, request=request)
        if not recovery_codes:
            form.add_error("code", "This is not the code of the moment. Wait for the next one.")
    is_set_up = factors.confirmed(user)
    return pages.render(
        request,
        "console/second_factor.html",
        title="Second factor",
        form=form,
        is_set_up=is_set_up,
        recovery_codes=recovery_codes,
        setup=None if is_set_up else factors.setup(user),
    )


class ResetForm(PasswordResetForm):
    """Whose password was forgotten. The answer is the same whether anyone has the address."""

    email = forms.EmailField(max_length=254, widget=UnfoldAdminEmailInputWidget({"autocomplete": "email"}))

    def save(self, **options: Any) -> None:  # type: ignore[override]  # Django's has a dozen positional parameters
        """Send the link, from the address that people know."""
        mails.send_reset_links([*self.get_users(self.cleaned_data["email"])], tokens=options["token_generator"])


if TYPE_CHECKING:
    PasswordTwice = SetPasswordForm[User]
else:  # generic for the type checker only
    PasswordTwice = SetPasswordForm


class NewPasswordForm(PasswordTwice):
    """A new password, twice."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            field.widget = UnfoldAdminPasswordWidget({"autocomplete": "new-password"})


class PasswordReset(views.PasswordResetView):
    """The page that asks for the mail address."""

    template_name = "console/password_reset.html"
    form_class = ResetForm
    success_url = reverse_lazy("admin:password_reset_sent")
    extra_context = {"title": "Reset your password"}

    def form_valid(self, form: PasswordResetForm) -> Any:
        """Send nothing to who asks too often, and say the same."""
        if signin.too_often("console.reset", subject=address(self.request), rate=RESETS_PER_ADDRESS):
            return redirect(str(self.success_url))
        return super().form_valid(form)


class PasswordResetSent(views.PasswordResetDoneView):
    """The page that says to look into the mail."""

    template_name = "console/password_reset_sent.html"


class PasswordResetConfirm(views.PasswordResetConfirmView):
    """The page behind the link."""

    template_name = "console/password_reset_confirm.html"
    form_class = NewPasswordForm
    success_url = reverse_lazy("admin:password_reset_done")


class PasswordResetDone(views.PasswordResetCompleteView):
    """The page that says it worked."""

    template_name = "console/password_reset_done.html"


class JoinForm(forms.Form):
    """Name and password of someone who joins."""

    username = forms.CharField(
        max_length=150,
        label="Name to sign in with",
        validators=[RegexValidator(r"^[\w.@+-]+\Z", "Letters, digits and @ . + - _ only.")],
        widget=UnfoldAdminTextInputWidget({"autocomplete": "username"}),
    )
    password = forms.CharField(widget=UnfoldAdminPasswordWidget({"autocomplete": "new-password"}))

    def __init__(self, *args: Any, email: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._email = email
        self.fields["password"].help_text = " ".join(password_validators_help_texts())

    def clean(self) -> dict[str, Any]:
        """Hold the password to the platform's rules."""
        cleaned: dict[str, Any] = super().clean() or {}
        try:
            validate_password(
                cleaned.get("password", ""), User(username=cleaned.get("username", ""), email=self._email)
            )
        except ValidationError as weak:
            self.add_error("password", weak)
        return cleaned


@never_cache
@csrf_protect
@sensitive_post_parameters("password")
def accept_invitation(request: HttpRequest, token: str) -> HttpResponseBase:
    """Let an invited person choose a name and a password."""
    now = clock.now()
    try:
        invitation = invitations.find(token, now=now)
    except NotFound as gone:
        return render(request, "console/invitation_gone.html", {"title": "Invitation", "reason": gone}, status=404)
    form = JoinForm(posted(request), email=invitation.email)
    if request.method == "POST" and form.is_valid():
        try:
            invitations.accept(token, **form.cleaned_data, now=now, address=address(request))
        except SkillgateError as refused:
            form.add_error("username", refused.message)
        else:
            return redirect("admin:login")
    return render(request, "console/invitation.html", {"title": "Join", "form": form, "invitation": invitation})
