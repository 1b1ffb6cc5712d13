"""Forms of the console: Unfold's widgets for every field, lists as lines, and the domain's refusals shown where they belong."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from django import forms
from django.http import HttpRequest, QueryDict
from unfold import widgets

from kit.errors import SkillgateError

Outcome = TypeVar("Outcome")
_WIDGETS: tuple[tuple[type[forms.Widget], type[forms.Widget]], ...] = (
    (forms.CheckboxSelectMultiple, widgets.UnfoldAdminCheckboxSelectMultipleWidget),
    (forms.CheckboxInput, widgets.UnfoldBooleanSwitchWidget),
    (forms.PasswordInput, widgets.UnfoldAdminPasswordWidget),
    (forms.EmailInput, widgets.UnfoldAdminEmailInputWidget),
    (forms.NumberInput, widgets.UnfoldAdminIntegerFieldWidget),
    (forms.Textarea, widgets.UnfoldAdminTextareaWidget),
    (forms.Select, widgets.UnfoldAdminSelectWidget),
    (forms.TextInput, widgets.UnfoldAdminTextInputWidget),
)


def posted(request: HttpRequest) -> QueryDict | None:
    """Return what a form is bound to: what was posted, be it empty, or nothing."""
    return request.POST if request.method == "POST" else None


class ConsoleForm(forms.Form):
    """A form in the console's dress."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            _dress(field)

    def attempt(self, verb: Callable[[], Outcome]) -> Outcome | None:
        """Call a verb of the domain; what it refuses becomes an error of the form, and None."""
        try:
            return verb()
        except SkillgateError as refused:
            field = str(refused.details.get("field", ""))
            self.add_error(field if field in self.fields else None, refused.message)
            return None


class LinesField(forms.CharField):
    """Several texts, one per line."""

    widget = forms.Textarea

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"required": False, "max_length": 20_000, **kwargs})

    def prepare_value(self, value: Any) -> Any:
        """Write a list as lines."""
        return "\n".join(value) if isinstance(value, list | tuple) else value

    def clean(self, value: Any) -> Any:
        """Read lines as a list."""
        text: str = super().clean(value) or ""
        return [line.strip() for line in text.splitlines() if line.strip()]


class MomentField(forms.DateTimeField):
    """A date and time in the tenant's time zone."""

    widget = forms.DateTimeInput

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(input_formats=["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M"], **kwargs)

    def prepare_value(self, value: Any) -> Any:
        """Write an instant as browsers want it."""
        local = super().prepare_value(value)
        return local.strftime("%Y-%m-%dT%H:%M") if isinstance(local, datetime) else local


class DollarsField(forms.DecimalField):
    """Dollars for people, micro-dollars for us."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"max_digits": 16, "decimal_places": 6, "min_value": 0, **kwargs})

    def prepare_value(self, value: Any) -> Any:
        """Write micro-dollars as dollars."""
        return f"{value / 1_000_000:.2f}" if isinstance(value, int) else value

    def clean(self, value: Any) -> Any:
        """Read dollars as micro-dollars."""
        dollars = super().clean(value)
        return None if dollars is None else int(dollars * 1_000_000)


def _dress(field: forms.Field) -> None:
    for plain, dressed in _WIDGETS:
        if type(field.widget) is plain:
            options = {"choices": field.widget.choices} if isinstance(field.widget, forms.widgets.ChoiceWidget) else {}
            attrs = {**field.widget.attrs, "rows": "4"} if plain is forms.Textarea else field.widget.attrs
            field.widget = dressed(attrs=attrs, **options)
            break
    if isinstance(field, MomentField):
        classes = " ".join(widgets.DATETIME_CLASSES)
        moment: Any = field  # the stubs take a widget for its class here
        moment.widget = forms.DateTimeInput(attrs={"type": "datetime-local", "class": f"{classes} max-w-2xl"})
    if isinstance(field, forms.DecimalField):
        field.widget.attrs["step"] = "any"
