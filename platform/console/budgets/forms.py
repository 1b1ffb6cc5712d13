"""What is asked about a budget."""

from typing import Any

from django import forms

from console.forms import ConsoleForm, DollarsField, LinesField, MomentField
from tenants.models import ApiKey, Budget


class BudgetForm(ConsoleForm):
    """A cap on what someone may use in a window."""

    key = forms.TypedChoiceField(
        required=False, coerce=int, empty_value=None, label="Of", help_text="The whole tenant, or one key."
    )
    skill = forms.ChoiceField(required=False, help_text="All skills together, or one.")
    window = forms.ChoiceField(choices=Budget.Window.choices, label="Per")
    limit_tokens = forms.IntegerField(required=False, min_value=1, label="Tokens", help_text="Empty: no limit.")
    limit_micros = DollarsField(required=False, label="Dollars", help_text="Empty: no limit.")
    thresholds = forms.CharField(
        required=False,
        max_length=100,
        initial="50, 80, 100",
        label="Alert at",
        help_text="Percentages, once each per window.",
    )
    alert_recipients = LinesField(
        label="Alerts also to",
        help_text="Mail addresses, one per line, besides the owners, admins, finance and the tenant's own recipients.",
    )

    def __init__(self, *args: Any, keys: list[ApiKey], skills: list[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._keys = {key.pk: key for key in keys}
        of: Any = self.fields["key"]
        of.choices = [("", "The whole tenant"), *((key.pk, f"Key {key.name} ({key.display})") for key in keys)]
        skill: Any = self.fields["skill"]
        chosen = {str(self.initial.get("skill") or "")} - {""}
        skill.choices = [("", "All skills"), *((name, name) for name in sorted({*skills, *chosen}))]

    def clean_thresholds(self) -> list[int]:
        """Read percentages."""
        try:
            return [int(part.strip(" %")) for part in self.cleaned_data["thresholds"].split(",") if part.strip()]
        except ValueError:
            raise forms.ValidationError("Give whole percentages, such as 50, 80, 100.") from None

    @property
    def chosen_key(self) -> ApiKey | None:
        """The key that the budget is of; None for the tenant."""
        chosen = self.cleaned_data["key"]
        return self._keys[chosen] if chosen else None


class IncreaseForm(ConsoleForm):
    """More, for a time."""

    extra_tokens = forms.IntegerField(required=False, min_value=1, label="Tokens more")
    extra_micros = DollarsField(required=False, label="Dollars more")
    ends_at = MomentField(label="Until", help_text="In the tenant's time zone. It ends by itself.")
    reason = forms.CharField(max_length=200)
