"""From an input schema to a form, and from what was filled in back to an input; the skill itself says what does not fit."""

import json
import math
from collections.abc import Mapping
from typing import Any

from django import forms

from console.forms import ConsoleForm, LinesField
from kit import strict_json
from kit.errors import InvalidRequest, SkillgateError

PREFIX = "input."
_ONE_LINE = 300
_BLANK = ""
_YES_NO = ("true", "false")


def kind_of(schema: Any) -> str:
    """Name how a value is asked for: choice, yes_no, number, text, line, lines or json."""
    if not isinstance(schema, dict):
        return "json"
    if isinstance(schema.get("enum"), list):
        return "choice"
    wanted = schema.get("type")
    if wanted == "string":
        return "line" if schema.get("maxLength", math.inf) <= _ONE_LINE else "text"
    if wanted == "array":
        return "lines" if _is_plain_text(schema.get("items")) else "json"
    return {"boolean": "yes_no", "integer": "number", "number": "number"}.get(str(wanted), "json")


def form_of(schema: Mapping[str, Any], *, given: Mapping[str, Any]) -> ConsoleForm:
    """Make the form of an input schema, filled with what was `given` before."""
    required = set(schema.get("required", ()))
    asked = {
        PREFIX + name: _field(name, one, is_required=name in required)
        for name, one in schema.get("properties", {}).items()
    }
    made: type[ConsoleForm] = type("InputForm", (ConsoleForm,), asked)
    return made(initial={PREFIX + name: value for name, value in given.items()})


def read(schema: Mapping[str, Any], filled: Mapping[str, Any]) -> dict[str, Any]:
    """Return the input that was filled in; what was left blank is left out.

    Raises `InvalidRequest` for text that should be JSON and is not. All else is the skill's to judge.
    """
    required = set(schema.get("required", ()))
    found = {}
    for name, one in schema.get("properties", {}).items():
        text = str(filled.get(PREFIX + name, "")).replace("\r\n", "\n")
        kind = kind_of(one)
        if text.strip() or (kind in {"text", "line"} and name in required):
            found[name] = _value(text, kind=kind, name=name)
    return found


def _value(text: str, *, kind: str, name: str) -> Any:
    if kind == "number":
        return _number(text)
    if kind == "lines":
        return [line.strip() for line in text.splitlines() if line.strip()]
    if kind in {"choice", "json"}:
        return _json(text, name=name)
    if kind == "yes_no" and text in _YES_NO:
        return text == "true"
    return text


def _number(text: str) -> Any:
    """A number, or the text itself, which the schema then refuses in its own words."""
    for read_as in (int, float):
        try:
            number = read_as(text)
        except ValueError:
            continue
        return number if abs(number) < strict_json.LARGEST_INTEGER else text
    return text


def _json(text: str, *, name: str) -> Any:
    try:
        return strict_json.loads(text.encode("utf-8", "replace"))
    except SkillgateError as refused:
        message = f"{name}: {refused.message.replace('The request body', 'This')}"
        raise InvalidRequest(message, path=f"/{name}") from refused


def _field(name: str, schema: Any, *, is_required: bool) -> forms.Field:
    told = schema if isinstance(schema, dict) else {}
    kind = kind_of(schema)
    label = str(told.get("title") or name.replace("_", " ").capitalize())
    options: dict[str, Any] = {"label": label, "required": is_required, "help_text": _help(told, kind=kind)}
    if kind == "choice":
        return forms.ChoiceField(choices=_choices(told["enum"], default=told.get("default")), **options)
    if kind == "yes_no":
        return forms.ChoiceField(choices=_choices([True, False], default=told.get("default")), **options)
    if kind == "number":
        step = "1" if told.get("type") == "integer" else "any"
        return forms.FloatField(widget=forms.NumberInput(attrs={"step": step}), **options)
    if kind == "lines":
        return LinesField(**options)
    if kind == "line":
        return forms.CharField(**options)
    return forms.CharField(widget=forms.Textarea(attrs={"spellcheck": "false"} if kind == "json" else {}), **options)


def _choices(values: list[Any], *, default: Any) -> list[tuple[str, str]]:
    usual = "as usual" if default is None else f"as usual ({_shown(default)})"
    return [(_BLANK, usual), *((json.dumps(value), _shown(value)) for value in values)]


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else json.dumps(value)


def _help(schema: Mapping[str, Any], *, kind: str) -> str:
    parts = [str(schema.get("description", ""))]
    if kind == "lines":
        parts.append("One per line.")
    if kind == "json":
        parts.append("As JSON.")
    if "default" in schema and kind not in {"choice", "yes_no"}:
        parts.append(f"Otherwise {_shown(schema['default'])}.")
    return " ".join(part for part in parts if part)


def _is_plain_text(schema: Any) -> bool:
    return isinstance(schema, dict) and schema.get("type") == "string"
