"""The playground's form: what a schema asks for, and what is made of what was filled in."""

import json
from typing import Any

import pytest
from django.http import QueryDict

from console.playground import fields
from console.playground.trials import Trial
from kit.errors import InvalidRequest

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["text", "to"],
    "properties": {
        "text": {"type": "string", "description": "What to translate."},
        "to": {"type": "string", "maxLength": 60},
        "count": {"type": "integer", "default": 3},
        "share": {"type": "number"},
        "is_formal": {"type": "boolean"},
        "tone": {"enum": ["plain", 7, None]},
        "labels": {"type": "array", "items": {"type": "string"}},
        "sources": {"type": "array", "items": {"type": "object"}},
        "anything": True,
    },
}


def filled(**values: str) -> dict[str, Any]:
    query = QueryDict(mutable=True)
    query.update({f"input.{name}": value for name, value in values.items()})
    return fields.read(SCHEMA, query)


def test_each_kind_of_value_is_asked_for_in_its_own_way() -> None:
    kinds = {name: fields.kind_of(one) for name, one in SCHEMA["properties"].items()}

    assert kinds == {
        "text": "text",
        "to": "line",
        "count": "number",
        "share": "number",
        "is_formal": "yes_no",
        "tone": "choice",
        "labels": "lines",
        "sources": "json",
        "anything": "json",
    }


def test_a_form_names_explains_and_requires_its_fields() -> None:
    form = fields.form_of(SCHEMA, given={"count": 5})

    page = form.as_p()
    assert "What to translate." in page
    assert "Otherwise 3." in page
    assert "One per line." in page
    assert 'value="5"' in page
    assert [name for name, field in form.fields.items() if field.required] == ["input.text", "input.to"]


def test_what_is_filled_in_becomes_an_input_of_the_right_types() -> None:
    given = filled(
        text="Two\r\nlines",
        to="German",
        count="4",
        share="0.5",
        is_formal="false",
        tone="7",
        labels="one\r\n\r\n two ",
        sources='[{"text": "x"}]',
    )

    assert given == {
        "text": "Two\nlines",
        "to": "German",
        "count": 4,
        "share": 0.5,
        "is_formal": False,
        "tone": 7,
        "labels": ["one", "two"],
        "sources": [{"text": "x"}],
    }


def test_what_is_left_blank_is_left_out_but_for_required_text_which_the_skill_shall_refuse() -> None:
    assert filled(count=" ", labels="\n") == {"text": "", "to": ""}


@pytest.mark.parametrize("number", ["many", "1e999", "nan", "9" * 5000, "-inf"])
def test_what_is_no_number_stays_text_which_the_skill_shall_refuse(number: str) -> None:
    assert filled(count=number)["count"] == number


@pytest.mark.parametrize("text", ["{", "[" * 5000, '{"a": 1e400}', "\ud800", '"\\u0000"'])
def test_what_is_no_json_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        filled(sources=text)

    assert refused.value.details["path"] == "/sources"
    assert refused.value.message.startswith("sources: ")


def test_the_terminals_call_survives_quotes() -> None:
    trial = Trial(
        key_id=1,
        address="",
        request_id="",
        skill="summarize",
        label=None,
        version=2,
        input={"text": 'it\'s "so"'},
        max_tokens=None,
        base_url="https://skillgate.example",
    )

    body = trial.curl.partition("-d '")[2].removesuffix("'").replace("'\\''", "'")
    assert json.loads(body) == {"input": {"text": 'it\'s "so"'}, "version": 2}
    assert "$SKILLGATE_KEY" in trial.curl
