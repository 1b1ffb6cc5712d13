"""What is asked of someone who writes skills."""

import json
from typing import Any

from django import forms

from console.forms import ConsoleForm
from console.skills import drafts
from kit import strict_json
from kit.errors import InvalidRequest
from skills.catalog import Content
from skills.models import CANARY, PRODUCTION, SkillVersion
from tenants.models import ApiKey

_LARGEST_TEXT = 300_000
_FIELD = "The name of an input field of type {}, if there is one."


def _area(*, rows: int, **options: Any) -> forms.CharField:
    field = forms.CharField(
        required=False,
        strip=False,
        max_length=_LARGEST_TEXT,
        widget=forms.Textarea(attrs={"spellcheck": "false"}),
        **options,
    )
    field.widget.attrs["data-rows"] = str(rows)
    return field


class ContentForm(ConsoleForm):
    """Everything an author writes for a version."""

    description = forms.CharField(max_length=1024, help_text="What the skill does, for people and for agents.")
    model = forms.CharField(max_length=64, initial="balanced", help_text="fast, balanced, deep, or a model's own name.")
    system = _area(rows=8, label="Prompt", help_text="The system prompt: the task, the rules, the tone.")
    template = _area(
        rows=6,
        help_text="The user message. {{ field }} puts an input field in; {{#field}}…{{/field}} only where there is one.",
    )
    input_schema = _area(rows=18, label="Input schema", help_text="JSON Schema of what callers send.")
    output_schema = _area(rows=8, label="Output schema", help_text="JSON Schema of the answer. Empty: plain text.")
    max_tokens = forms.IntegerField(initial=1024, label="Output tokens", help_text="When the caller names no number.")
    max_tokens_ceiling = forms.IntegerField(
        initial=4096, label="Most output tokens", help_text="That a caller may ask for."
    )
    policy = _area(rows=4, help_text="JSON: fallbacks, routing, cache, guardrails. Empty: none.")
    cache_system = forms.BooleanField(required=False, label="Cache the prompt")
    citations = forms.BooleanField(required=False, label="Cite documents")
    messages_from = forms.CharField(required=False, max_length=64, label="Turns from", help_text=_FIELD.format("array"))
    system_from = forms.CharField(
        required=False, max_length=64, label="More prompt from", help_text=_FIELD.format("string")
    )
    documents_from = forms.CharField(
        required=False, max_length=64, label="Documents from", help_text=_FIELD.format("array")
    )
    max_tokens_from = forms.CharField(
        required=False, max_length=64, label="Output tokens from", help_text=_FIELD.format("integer")
    )

    ADVANCED = ("cache_system", "citations", "messages_from", "system_from", "documents_from", "max_tokens_from")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.draft = drafts.Draft(None, [])
        for name, field in self.fields.items():
            field.widget.attrs["aria-describedby"] = f"faults-{name}"
            if rows := field.widget.attrs.pop("data-rows", None):
                field.widget.attrs["rows"] = rows

    def clean(self) -> dict[str, Any]:
        """Check the content as a whole; each fault stands at its field."""
        given = {name: self.data.get(name) for name in self.fields}
        self.draft = drafts.read(given)
        for fault in self.draft.faults:
            if fault.field not in self.errors:
                self.add_error(fault.field if fault.field in self.fields else None, str(fault))
        return self.cleaned_data

    @property
    def usual(self) -> list[Any]:
        """The fields that most authors fill in."""
        return [self[name] for name in self.fields if name not in self.ADVANCED]

    @property
    def advanced(self) -> list[Any]:
        """The others."""
        return [self[name] for name in self.ADVANCED]

    @property
    def content(self) -> Content:
        """The content of a form that is valid."""
        assert self.draft.content is not None  # noqa: S101 - what `is_valid` has made sure of
        return self.draft.content


class NewSkillForm(ContentForm):
    """A new skill."""

    name = forms.CharField(max_length=64, help_text="As callers name it: lower-case letters, digits, single hyphens.")
    field_order = ("name",)


def initial(content: Content) -> dict[str, Any]:
    """Return a form's fields for a content that is the basis of the next."""
    values = content.as_columns()
    for name in drafts.JSON:
        values[name] = pretty(values[name]) if values[name] else ""
    return values


def pretty(value: Any) -> str:
    """Write JSON for people."""
    return json.dumps(value, ensure_ascii=False, indent=2)


class PointForm(ConsoleForm):
    """Where a label points."""

    label = forms.CharField(max_length=32, initial=PRODUCTION, help_text="production, canary, or any other name.")
    version = forms.TypedChoiceField(coerce=int)
    share = forms.IntegerField(
        initial=0, min_value=0, max_value=100, required=False, help_text=f"Of {CANARY}: its percentage of the calls."
    )
    override_reason = forms.CharField(
        required=False,
        max_length=500,
        label="Override the release gate",
        help_text="Only where the gate refuses: why this version is released all the same. Kept in the audit log.",
    )

    def __init__(self, *args: Any, versions: list[SkillVersion], may_override: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices: Any = self.fields["version"]
        choices.choices = [(one.number, f"{one.number}: {one.model}, by {one.created_by}") for one in versions]
        if not may_override:
            del self.fields["override_reason"]


class RollbackForm(ConsoleForm):
    """Which label goes back."""

    label = forms.CharField(max_length=32, initial=PRODUCTION, widget=forms.HiddenInput)


class GateForm(ConsoleForm):
    """What a release must show."""

    needs_passing_cases = forms.BooleanField(required=False, label="All cases must pass")
    cost_tolerance_percent = forms.IntegerField(
        required=False,
        min_value=0,
        label="Cost tolerance",
        help_text="How many percent more than production the cases may cost. Empty: any.",
    )


class JsonField(forms.CharField):
    """An object as JSON."""

    widget = forms.Textarea

    def clean(self, value: Any) -> Any:
        """Read the object."""
        text = super().clean(value)
        try:
            found = strict_json.loads((text or "{}").encode())
        except InvalidRequest as fault:
            raise forms.ValidationError(f"This {fault.message.removeprefix('The request body ')}") from None
        if not isinstance(found, dict):
            raise forms.ValidationError("This must be a JSON object.")
        return found


class CaseForm(ConsoleForm):
    """An input and what its answer must be like."""

    name = forms.CharField(max_length=100)
    input = JsonField(max_length=600_000, help_text="What is sent, as JSON.")
    expect = JsonField(
        required=False,
        max_length=200_000,
        label="Expected",
        help_text='Any of equals, contains, matches, schema, subset, max_words, max_milliseconds, such as {"contains": '
        '["Lisbon"], "max_words": 40}. Empty: that there is an answer.',
    )


class RunForm(ConsoleForm):
    """Which version to try, and who pays."""

    version = forms.TypedChoiceField(coerce=int)
    key = forms.TypedChoiceField(coerce=int, help_text="Its limits and budget apply, as for any call.")

    def __init__(self, *args: Any, versions: list[SkillVersion], keys: list[ApiKey], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices: Any = self.fields["version"]
        choices.choices = [(one.pk, f"{one.number}: {one.model}, by {one.created_by}") for one in versions]
        payers: Any = self.fields["key"]
        payers.choices = [(one.pk, f"{one.name} ({one.environment}, {one.display})") for one in keys]


class PinForm(ConsoleForm):
    """Which version of which skill a key gets."""

    skill = forms.TypedChoiceField(coerce=int)
    version = forms.IntegerField(min_value=1, help_text="Its number.")

    def __init__(self, *args: Any, skills: list[tuple[int, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices: Any = self.fields["skill"]
        choices.choices = skills


class ImportForm(ConsoleForm):
    """A zip of a folder."""

    archive = forms.FileField(
        label="Zip archive",
        help_text="A folder in the Agent Skills layout: SKILL.md, template.md, schemas/, cases/.",
        widget=forms.ClearableFileInput(attrs={"accept": ".zip,application/zip"}),
    )
