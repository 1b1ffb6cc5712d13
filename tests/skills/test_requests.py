"""From version and input to a request body, and the bound of its input tokens."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.errors import InvalidRequest
from skills import requests
from skills.versions import Content, Version

TEXT = {"type": "string", "minLength": 1}


def version(**changes: Any) -> Version:
    given = {
        "description": "Says things.",
        "input_schema": {
            "type": "object",
            "properties": {
                "text": TEXT,
                "words": {"type": "integer", "default": 150},
                "labels": {"type": "array", "items": {"type": "string"}},
                "documents": {"type": "array"},
                "messages": {"type": "array"},
                "system": TEXT,
                "cap": {"type": "integer"},
            },
            "additionalProperties": False,
        },
        "model": "balanced",
        "max_tokens": 100,
        "max_tokens_ceiling": 400,
        "template": "<text>{{ text }}</text> {{ words }}",
        **changes,
    }
    return Version(id=1, skill_id=1, skill="say", tenant_id=None, number=1, stored_digest="", **given)


FENCES = {"type": "text", "text": requests.FENCES}


def unmarked(text: str) -> str:
    """Without the mark of its fences, which must be the same everywhere."""
    marks = set(re.findall(r"(?<=text-)[0-9a-f]{12}(?=>)", text))
    assert len(marks) == 1, text
    return text.replace(f"-{marks.pop()}>", ">")


def test_a_plain_request() -> None:
    body = requests.build(version(system="Be brief."), {"text": "Hello"}, metadata_user="key_1")

    (message,) = body.pop("messages")
    assert message["role"] == "user"
    assert [unmarked(block["text"]) for block in message["content"]] == ["<text>Hello</text> 150"]
    assert body == {
        "model": "claude-sonnet-5",
        "max_tokens": 100,
        "system": [{"type": "text", "text": "Be brief."}, FENCES],
        "metadata": {"user_id": "key_1"},
    }


def test_the_system_prompt_is_the_same_for_every_input() -> None:
    skill = version(system="Be brief.", cache_system=True)

    one, other = requests.build(skill, {"text": "a"}), requests.build(skill, {"text": "b"})

    assert one["system"] == other["system"]
    assert one["messages"] != other["messages"]
    assert one == requests.build(skill, {"text": "a"})


def test_a_prompt_that_is_the_whole_message_stands_as_it_is() -> None:
    body = requests.build(version(template="{{ text }}", system="Be brief."), {"text": "Hello"})

    assert body["messages"][0]["content"] == [{"type": "text", "text": "Hello"}]
    assert body["system"] == [{"type": "text", "text": "Be brief."}]


def test_aliases_follow_the_settings_and_names_stand_for_themselves(settings: Any) -> None:
    settings.SKILL_MODELS = {"balanced": "claude-next"}

    assert requests.build(version(), {"text": "a"})["model"] == "claude-next"
    assert requests.build(version(), {"text": "a"}, model="claude-opus-5")["model"] == "claude-opus-5"
    assert requests.build(version(model="claude-haiku-4-5"), {"text": "a"})["model"] == "claude-haiku-4-5"


def test_the_last_system_block_carries_the_cache_mark() -> None:
    skill = version(system="Be brief.", system_from="system", cache_system=True)

    cached = {"cache_control": {"type": "ephemeral"}}
    both = requests.build(skill, {"text": "a", "system": "Be kind."})
    one = requests.build(skill, {"text": "a"})
    none = requests.build(skill, {"text": "a"}, cache_system=False)
    empty = requests.build(version(cache_system=True), {"text": "a"})

    assert both["system"] == [
        {"type": "text", "text": "Be brief."},
        FENCES,
        {"type": "text", "text": "Be kind.", **cached},
    ]
    assert one["system"] == [{"type": "text", "text": "Be brief."}, {**FENCES, **cached}]
    assert none["system"] == [{"type": "text", "text": "Be brief."}, FENCES]
    assert empty["system"] == [{**FENCES, **cached}]


def test_json_answers_ask_for_the_calls_own_schema_in_the_authors_order() -> None:
    output = {
        "type": "object",
        "properties": {"reason": {"type": "string", "maxLength": 9}, "label": {"enum": {"$input": "labels"}}},
        "required": ["reason", "label"],
    }

    body = requests.build(version(output_schema=output), {"text": "a", "labels": ["x", "y"]})

    assert json.dumps(body["output_config"]) == json.dumps(
        {
            "format": {
                "type": "json_schema",
                "schema": {
                    "type": "object",
                    "properties": {
                        "reason": {"type": "string", "description": "{maxLength: 9}"},
                        "label": {"enum": ["x", "y"]},
                    },
                    "required": ["reason", "label"],
                    "additionalProperties": False,
                },
            }
        }
    )


def test_documents_are_cited_blocks_before_the_question() -> None:
    skill = version(documents_from="documents", citations=True)

    body = requests.build(skill, {"text": "Why?", "documents": [{"title": "One", "text": "A."}, {"text": "B."}]})

    *documents, question = body["messages"][0]["content"]
    assert unmarked(question["text"]) == "<text>Why?</text> 150"
    assert documents == [
        {
            "type": "document",
            "source": {"type": "text", "media_type": "text/plain", "data": "A."},
            "title": "One",
            "citations": {"enabled": True},
        },
        {
            "type": "document",
            "source": {"type": "text", "media_type": "text/plain", "data": "B."},
            "citations": {"enabled": True},
        },
    ]


USER, ASSISTANT = {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}


def test_turns_are_handed_on() -> None:
    skill = version(template="", messages_from="messages")

    assert requests.build(skill, {"messages": [USER, ASSISTANT, USER]})["messages"] == [USER, ASSISTANT, USER]


@pytest.mark.parametrize(
    ("turns", "path"), [([ASSISTANT, USER], "/messages/0/role"), ([USER, ASSISTANT], "/messages/1/role")]
)
def test_turns_begin_and_end_with_the_user(turns: list[Any], path: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        requests.build(version(template="", messages_from="messages"), {"messages": turns})

    assert refused.value.details["path"] == path


def test_max_tokens_come_from_the_caller_then_the_input_then_the_version() -> None:
    skill = version(max_tokens_from="cap")

    assert requests.build(skill, {"text": "a", "cap": 7}, max_tokens=9)["max_tokens"] == 9
    assert requests.build(skill, {"text": "a", "cap": 7})["max_tokens"] == 7
    assert requests.build(skill, {"text": "a"})["max_tokens"] == 100
    assert requests.build(skill, {"text": "a"}, max_tokens=400)["max_tokens"] == 400


@pytest.mark.parametrize("asked", [401, 0, -1, 10**30])
def test_more_tokens_than_the_ceiling_are_refused(asked: int) -> None:
    with pytest.raises(InvalidRequest, match="from 1 to 400"):
        requests.build(version(), {"text": "a"}, max_tokens=asked)


def test_an_input_that_does_not_fit_is_refused_with_its_path() -> None:
    with pytest.raises(InvalidRequest) as refused:
        requests.build(version(), {"text": "a", "unknown": 1})

    assert refused.value.details["path"] == "/unknown"


def test_a_content_is_known_by_its_digest() -> None:
    def digest(**changes: Any) -> str:
        basis = {"description": "d", "input_schema": {"a": 1, "b": 2}, "model": "m", "max_tokens": 1}
        return Content(**{"max_tokens_ceiling": 1, **basis, **changes}).digest()

    assert digest() == digest(system="", policy={}, output_schema=None)
    assert len({digest(), digest(system="x"), digest(input_schema={"b": 2, "a": 1}), digest(citations=True)}) == 4


def message(*blocks: Any) -> dict[str, Any]:
    return {"model": "claude-sonnet-5", "messages": [{"role": "user", "content": list(blocks)}]}


@pytest.mark.parametrize(
    ("request_body", "bound"),
    [
        ({"messages": []}, 64),
        ({"messages": [{"role": "user", "content": "é"}]}, 64 + 16 + 16 + 2),
        ({"system": "ab", "messages": []}, 64 + 16 + 2),
        ({"system": [{"type": "text", "text": "ab"}], "messages": []}, 64 + 16 + 2),
        ({"messages": [], "tools": [{"name": "a"}]}, 64 + 1_024 + 16 + 13),
        ({"messages": [], "output_config": {"format": 1}}, 64 + 512 + 13),
        (message({"type": "image", "source": {"type": "url", "url": "https://x"}}), 64 + 16 + 16 + 4_800),
        ({**message({"type": "image"}), "model": "claude-haiku-4-5"}, 64 + 16 + 16 + 1_640),
        (
            message({"type": "document", "title": "ab", "source": {"type": "text", "data": "One. Two."}}),
            64 + 16 + 16 + 2 + 9,
        ),
        (
            message(
                {
                    "type": "document",
                    "source": {"type": "text", "data": "One. Two."},
                    "citations": {"enabled": True},
                }
            ),
            64 + 16 + 16 + 9 + 512 + 16 * 3,
        ),
        (message({"type": "document", "source": {"type": "base64", "data": "A" * 100}}), 64 + 32 + 10_800),
        (message({"type": "document", "source": {"type": "url", "url": "https://x"}}), 1_000_000),
        (message({"type": "tool_result", "content": [{"type": "text", "text": "ab"}]}), 64 + 16 + 16 + 23 + 16 + 2),
        (message({"type": "text", "text": "a" * 2_000_000}), 1_000_000),
    ],
)
def test_input_bound_counts_each_part(request_body: dict[str, Any], bound: int) -> None:
    assert requests.input_bound(request_body) == bound


blocks = st.one_of(
    st.fixed_dictionaries({"type": st.just("text"), "text": st.text()}),
    st.fixed_dictionaries(
        {"type": st.just("tool_use"), "name": st.text(), "input": st.dictionaries(st.text(), st.text())}
    ),
    st.fixed_dictionaries({"type": st.just("tool_result"), "tool_use_id": st.text(), "content": st.text()}),
    st.fixed_dictionaries(
        {"type": st.just("document"), "title": st.text(), "source": st.fixed_dictionaries({"data": st.text()})}
    ),
)
bodies = st.fixed_dictionaries(
    {
        "system": st.text() | st.lists(blocks, max_size=2),
        "messages": st.lists(st.fixed_dictionaries({"content": st.text() | st.lists(blocks, max_size=3)}), max_size=3),
        "tools": st.lists(st.fixed_dictionaries({"name": st.text(), "description": st.text()}), max_size=2),
    }
)


def every_text(value: Any) -> str:
    if isinstance(value, dict):
        return "".join(every_text(inner) for key, inner in value.items() if key != "type")
    if isinstance(value, list):
        return "".join(map(every_text, value))
    return str(value)


@given(bodies)
def test_no_tokenization_of_the_texts_exceeds_the_bound(body: dict[str, Any]) -> None:
    tokens = len(every_text(body).encode("utf-8", "surrogatepass"))  # A byte-level tokenizer without one merge.

    assert requests.input_bound(body) >= tokens + 64
