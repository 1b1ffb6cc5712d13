"""What is asked about a key."""

from datetime import timedelta
from typing import Any

from django import forms

from console.forms import ConsoleForm, LinesField, MomentField
from tenants.keys.scopes import VERBS, Terms
from tenants.models import ApiKey


class TermsForm(ConsoleForm):
    """What a key may do and how much of it."""

    name = forms.CharField(max_length=100, help_text="For people: where the key is used.")
    allowed_skills = forms.MultipleChoiceField(
        required=False, widget=forms.CheckboxSelectMultiple, label="Skills", help_text="None ticked: every skill."
    )
    allowed_verbs = forms.MultipleChoiceField(
        required=False,
        widget=forms.CheckboxSelectMultiple,
        label="Uses",
        choices=[(verb, verb) for verb in VERBS],
        help_text="None ticked: all of them.",
    )
    allowed_models = LinesField(
        label="Models",
        help_text="What its calls may go to, those of skills as well as those that name a model. One per line. Empty: every priced model.",
    )
    allowed_networks = LinesField(
        label="Networks", help_text="CIDR ranges it may call from, one per line, such as 192.0.2.0/24. Empty: any."
    )
    requests_per_minute = forms.IntegerField(initial=60, min_value=1)
    tokens_per_minute = forms.IntegerField(initial=200_000, min_value=1)
    concurrent_calls = forms.IntegerField(initial=20, min_value=1)
    expires_at = MomentField(required=False, label="Expires", help_text="In the tenant's time zone. Empty: never.")

    def __init__(self, *args: Any, skills: list[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        chosen = self.initial.get("allowed_skills") or []
        names = sorted({*skills, *chosen})  # what is ticked stays visible, also when the skill is gone
        self.fields["allowed_skills"].choices = [(name, name) for name in names]  # type: ignore[attr-defined]  # a choice field

    def terms(self, *, environment: str) -> Terms:
        """Return the terms as the domain takes them."""
        names = (field for field in TermsForm.base_fields if field in self.cleaned_data)
        return Terms(environment=environment, **{name: self.cleaned_data[name] for name in names})


class IssueForm(TermsForm):
    """A new key."""

    environment = forms.ChoiceField(
        choices=ApiKey.Environment.choices, help_text="Test keys are answered by the emulator, never by Claude."
    )
    monthly_token_budget = forms.IntegerField(
        min_value=1, initial=1_000_000, help_text="Tokens it may use in a month of the tenant's time zone."
    )
    field_order = ("name", "environment", "monthly_token_budget")


class RotateForm(ConsoleForm):
    """A successor."""

    overlap = forms.TypedChoiceField(
        coerce=lambda hours: timedelta(hours=int(hours)),
        choices=[("0", "none: the old key ends now"), ("1", "1 hour"), ("6", "6 hours"), ("24", "24 hours")],
        initial="24",
        label="The old key goes on for",
        help_text="Both keys draw on the same limits and budget.",
    )


class RevokeForm(ConsoleForm):
    """The end of a key."""

    reason = forms.CharField(max_length=200, help_text="Kept with the key and in the audit log.")


class RevokeSeveralForm(RevokeForm):
    """The end of several keys."""

    chosen = forms.CharField(widget=forms.HiddenInput, max_length=10_000)

    def clean_chosen(self) -> list[int]:
        """Read the keys' ids."""
        try:
            return [int(part) for part in self.cleaned_data["chosen"].split(",")]
        except ValueError:
            raise forms.ValidationError("Choose the keys again.") from None
