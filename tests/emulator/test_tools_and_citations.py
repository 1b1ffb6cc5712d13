"""Tools are used with fitting input, documents are cited by exact places."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    import anthropic

WEATHER: Any = {
    "name": "get_weather",
    "description": "Current weather of a city",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}},
        "required": ["city", "unit"],
    },
}
CALENDAR: Any = {
    "name": "add_event",
    "description": "Put a meeting into the calendar",
    "input_schema": {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]},
}


def ask(client: anthropic.Anthropic, text: str, **extra: Any) -> Any:
    """Return the answer to a user who has two tools."""
    return client.messages.create(
        model="claude-opus-5",
        max_tokens=500,
        messages=[{"role": "user", "content": text}],
        tools=[WEATHER, CALENDAR],
        **extra,
    )


@pytest.mark.parametrize(
    ("text", "choice", "expected"),
    [
        ("Is it warm in Bern, in fahrenheit?", {"type": "tool", "name": "add_event"}, "add_event"),
        ("What is the weather in the city of Bern?", {"type": "any"}, "get_weather"),
        ("Add a meeting to my calendar", {"type": "any"}, "add_event"),
        ("Use get_weather for city: Bern", {"type": "auto"}, "get_weather"),
        ("Please get weather for me", None, "get_weather"),
    ],
)
def test_a_tool_is_used_with_input_that_fits(
    client: anthropic.Anthropic, text: str, choice: Any, expected: str
) -> None:
    message = ask(client, text, **({"tool_choice": choice} if choice else {}))

    used = message.content[-1]
    assert message.stop_reason == "tool_use"
    assert used.name == expected
    assert used.id.startswith("toolu_")
    jsonschema_rs.validate((WEATHER if expected == "get_weather" else CALENDAR)["input_schema"], used.input)


def test_tool_input_is_taken_from_the_text(client: anthropic.Anthropic) -> None:
    used = ask(client, "get_weather, city: Bern, in fahrenheit", tool_choice={"type": "any"}).content[-1]

    assert used.input == {"city": "Bern", "unit": "fahrenheit"}


@pytest.mark.parametrize("choice", [{"type": "auto"}, {"type": "none"}])
def test_no_tool_is_used_unless_it_is_wanted(client: anthropic.Anthropic, choice: Any) -> None:
    text = "get_weather" if choice["type"] == "none" else "Tell me a story"

    assert ask(client, text, tool_choice=choice).stop_reason == "end_turn"


def test_a_tool_result_is_answered_with_text(client: anthropic.Anthropic) -> None:
    asked = {"role": "user", "content": "get_weather please"}
    used = ask(client, "get_weather please")
    result = {"type": "tool_result", "tool_use_id": used.content[-1].id, "content": "17 degrees in Bern"}
    messages: list[Any] = [asked, used.to_param(), {"role": "user", "content": [result]}]

    message = client.messages.create(
        model="claude-opus-5",
        max_tokens=500,
        tools=[WEATHER],
        messages=messages,
    )

    assert message.stop_reason == "end_turn"
    assert message.content[0].type == "text"
    assert "17 degrees in Bern" in message.content[0].text


RIVERS = "The Rhine is 1,230 km long.  Its source is in the Alps.\nThe Danube flows east, through ten countries."
CATS = "Cats purr when they are content. Dogs do not."


def document(source: dict[str, Any], title: str) -> dict[str, Any]:
    """Return a document block with citations."""
    return {"type": "document", "source": source, "title": title, "citations": {"enabled": True}}


def cited(client: anthropic.Anthropic, question: str, *documents: dict[str, Any]) -> list[Any]:
    """Return all citations of a streamed answer, which must equal those of the whole one."""
    content = [*documents, {"type": "text", "text": question}]
    asked: dict[str, Any] = {
        "model": "claude-sonnet-5",
        "max_tokens": 900,
        "messages": [{"role": "user", "content": content}],
    }
    with client.messages.stream(**asked) as stream:
        streamed = stream.get_final_message()
    whole = client.messages.create(**asked)
    found = [citation for block in whole.content if block.type == "text" for citation in block.citations or ()]
    again = [citation for block in streamed.content if block.type == "text" for citation in block.citations or ()]
    assert found == again
    return found


def text_source(data: str) -> dict[str, Any]:
    """Return the source of a plain text document."""
    return {"type": "text", "media_type": "text/plain", "data": data}


@pytest.mark.parametrize(
    ("question", "index", "part"),
    [("Where is the source of the Rhine?", 0, "source is in the Alps"), ("When do cats purr?", 1, "Cats purr")],
)
def test_a_text_is_cited_by_its_characters(client: anthropic.Anthropic, question: str, index: int, part: str) -> None:
    texts = [RIVERS, CATS]

    citations = cited(client, question, *(document(text_source(text), f"Text {n}") for n, text in enumerate(texts)))

    assert any(part in citation.cited_text for citation in citations)
    assert citations[0].document_index == index
    for citation in citations:
        assert citation.type == "char_location"
        assert citation.document_title == f"Text {citation.document_index}"
        source = texts[citation.document_index]
        assert source[citation.start_char_index : citation.end_char_index] == citation.cited_text


def test_custom_content_is_cited_by_its_blocks(client: anthropic.Anthropic) -> None:
    blocks = [{"type": "text", "text": RIVERS}, {"type": "text", "text": CATS}]

    citation = cited(client, "Do cats purr?", document({"type": "content", "content": blocks}, "Parts"))[0]

    assert citation.type == "content_block_location"
    assert (citation.start_block_index, citation.end_block_index) == (1, 2)
    assert citation.cited_text == CATS


def test_a_pdf_is_cited_by_its_pages(client: anthropic.Anthropic, make_pdf: Callable[..., bytes]) -> None:
    data = base64.b64encode(make_pdf("The Rhine is long.", "Cats purr when content.")).decode()
    source = {"type": "base64", "media_type": "application/pdf", "data": data}

    citation = cited(client, "When do cats purr?", document(source, "Book"))[0]

    assert citation.type == "page_location"
    assert (citation.start_page_number, citation.end_page_number) == (2, 3)
    assert citation.cited_text == "Cats purr when content."


def test_without_citations_the_closest_sentence_is_the_answer(client: anthropic.Anthropic) -> None:
    plain = {"type": "document", "source": text_source(RIVERS)}
    content: Any = [plain, {"type": "text", "text": "Which countries has the Danube?"}]

    message = client.messages.create(
        model="claude-sonnet-5",
        max_tokens=100,
        messages=[{"role": "user", "content": content}],
    )

    assert message.content[0].type == "text"
    assert message.content[0].text == "The Danube flows east, through ten countries."
    assert message.content[0].citations is None
