"""What is wrong with a skill, said as one types it and again on saving."""

import json

import pytest

from console.skills import drafts
from skills.models import Skill
from tenants.models import AuditEntry
from tests.console.conftest import Cast

pytestmark = pytest.mark.django_db
WRITTEN = {
    "name": "shorten",
    "description": "Shortens a text.",
    "model": "fast",
    "system": "Summarize the text.\r\n",
    "template": "<text>{{ text }}</text>",
    "input_schema": json.dumps(
        {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}, indent=2
    ),
    "output_schema": "",
    "max_tokens": "100",
    "max_tokens_ceiling": "200",
    "policy": "",
}


@pytest.mark.parametrize(
    ("wrong", "field", "path", "line", "words"),
    [
        ({"input_schema": '{\n  "type": "object",\n  "properties": {,}\n}'}, "input_schema", "", 3, "not valid JSON"),
        (
            {"input_schema": '{\n"type": "object",\n"properties": {\n"a": {},\n"text": {"type":\n"strin"}}}'},
            "input_schema",
            "/properties/text/type",
            6,
            "not valid JSON Schema",
        ),
        ({"input_schema": '{"a": 1, "a": 2}'}, "input_schema", "", None, "appears twice"),
        ({"input_schema": "[1]"}, "input_schema", "", 1, "must be a JSON object"),
        ({"input_schema": ""}, "input_schema", "", None, "must not be empty"),
        ({"output_schema": '{\n\n"type": "object"}'}, "output_schema", "", 1, "properties"),
        ({"template": "{{ whom }}"}, "template", "", None, "no property `whom`"),
        ({"template": "{{ text"}, "template", "", None, "never closed"),
        ({"max_tokens": "x"}, "max_tokens", "", None, "whole number"),
        ({"max_tokens": "201"}, "max_tokens", "", None, "from 1 to the ceiling"),
        ({"policy": '{\n"fallbacks": "fast"}'}, "policy", "/fallbacks", 2, "list of at most"),
        ({"policy": '{"magic": 1}'}, "policy", "", 1, "does not know"),
        ({"description": " "}, "description", "", None, "1 to 1,024"),
        ({"system": "x" * 70_000}, "system", "", None, "at most 65,536 bytes"),
        ({"system_from": "absent"}, "system_from", "", None, "must name a property"),
    ],
)
def test_what_is_wrong_is_said_as_one_types_and_again_on_saving(
    cast: Cast, wrong: dict[str, str], field: str, path: str, line: int | None, words: str
) -> None:
    client = cast.client("ada")

    told = client.post("/admin/skills/check/", {**WRITTEN, **wrong}).json()["faults"]
    saved = client.post("/admin/skills/new/", {**WRITTEN, **wrong})

    assert [(one["field"], one["path"], one["line"]) for one in told] == [(field, path, line)]
    assert words in told[0]["message"]
    assert saved.status_code == 200
    assert not Skill.objects.exists()
    assert not AuditEntry.objects.filter(action__startswith="skill.").exists()


def test_every_fault_is_told_at_once(cast: Cast) -> None:
    wrong = {"input_schema": "{", "output_schema": '{"type": 5}', "max_tokens": "0", "model": "", "policy": "5"}

    told = cast.client("ada").post("/admin/skills/check/", {**WRITTEN, **wrong}).json()["faults"]

    assert {one["field"] for one in told} == {"input_schema", "output_schema", "max_tokens", "model", "policy"}
    assert cast.client("ada").post("/admin/skills/check/", WRITTEN).json() == {"faults": []}


@pytest.mark.parametrize("junk", ["\x00", "[" * 9_000, '{"a": "\\ud800"}', "\u202e\uffff", "1e999", "-", "{}" * 50_000])
def test_no_input_breaks_the_page(cast: Cast, junk: str) -> None:
    client = cast.client("ada")

    for field in WRITTEN:
        assert client.post("/admin/skills/check/", {**WRITTEN, field: junk}).status_code == 200
    assert client.post("/admin/skills/new/", dict.fromkeys(WRITTEN, junk)).status_code == 200
    assert not Skill.objects.exists()


def test_the_line_of_a_place_in_json_is_found() -> None:
    text = '{\n "a": [1,\n  {"b/c": "x, {", "d":\n   null}],\n "e": {}\n}'

    places = ["", "/a", "/a/0", "/a/1", "/a/1/b~1c", "/a/1/d", "/e", "/e/absent", "/absent"]

    assert [drafts.line_of(text, place) for place in places] == [1, 2, 2, 3, 3, 4, 5, 5, 1]
