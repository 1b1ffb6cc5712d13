"""Create, stream, count and list, through the real SDK."""

from __future__ import annotations

import re
import typing
from typing import Any

import anthropic
import httpx2
import pytest
from anthropic.types import Model

ASK: dict[str, Any] = {
    "model": "claude-sonnet-5-5",
    "max_tokens": 400,
    "messages": [{"role": "user", "content": "Tell me about the river Rhine."}],
}
THINKING: dict[str, Any] = {"max_tokens": 3000, "thinking": {"type": "enabled", "budget_tokens": 1024}}


def comparable(message: Any) -> dict[str, Any]:
    """Return a message without what differs between two calls, or between two classes of the SDK."""
    shown = message.model_dump(exclude={"id": True})
    for block in shown["content"]:
        block.pop("parsed_output", None)
    return dict(shown)


def test_create_returns_a_complete_message(client: anthropic.Anthropic) -> None:
    message = client.messages.create(**ASK)

    assert message.id.startswith("msg_")
    assert message.role == "assistant"
    assert message.model == "claude-sonnet-5-5"
    assert message.stop_reason == "end_turn"
    assert message.content[0].type == "text"
    assert "Rhine" in message.content[0].text
    assert message.usage.service_tier == "standard"
    assert message.usage.cache_creation is not None


def test_an_answer_is_the_same_every_time(client: anthropic.Anthropic) -> None:
    assert comparable(client.messages.create(**ASK)) == comparable(client.messages.create(**ASK))


TOOL = {"name": "get_weather", "description": "Weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}  # fmt: skip
FORMAT = {"format": {"type": "json_schema", "schema": {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}}}  # fmt: skip
CITED = [{"role": "user", "content": [
    {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "The Rhine is long. Cats purr."},
     "citations": {"enabled": True}},
    {"type": "text", "text": "Who purrs?"},
]}]  # fmt: skip
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "thinking": THINKING,
    "omitted thinking": {"thinking": {"type": "adaptive", "display": "omitted"}},
    "tool": {"tools": [TOOL], "tool_choice": {"type": "any"}},
    "tool cut short": {"tools": [TOOL], "tool_choice": {"type": "any"}, "max_tokens": 5},
    "schema": {"output_config": FORMAT},
    "citations": {"messages": CITED},
    "cut": {"max_tokens": 7},
    "stop sequence": {"stop_sequences": ["the main"]},
    "refusal": {"messages": [{"role": "user", "content": "[[emulator:refusal]] no"}]},
    "prefill": {"model": "claude-haiku-4-5", "messages": [*ASK["messages"], {"role": "assistant", "content": "It"}]},
    "no tokens": {"max_tokens": 0},
}


@pytest.mark.parametrize("extra", VARIANTS.values(), ids=VARIANTS)
def test_a_stream_adds_up_to_the_message_that_create_returns(
    client: anthropic.Anthropic, extra: dict[str, Any]
) -> None:
    whole = client.messages.create(**{**ASK, **extra})

    with client.messages.stream(**{**ASK, **extra}) as stream:
        streamed = stream.get_final_message()

    assert comparable(streamed) == comparable(whole)


async def test_events_come_in_the_order_of_the_api(async_client: anthropic.AsyncAnthropic) -> None:
    stream = await async_client.messages.create(**{**ASK, **THINKING}, stream=True)

    kinds = [event.delta.type if event.type == "content_block_delta" else event.type async for event in stream]

    squeezed = [kind for at, kind in enumerate(kinds) if at == 0 or kinds[at - 1] != kind]
    assert squeezed == [
        "message_start",
        "content_block_start", "thinking_delta", "signature_delta", "content_block_stop",
        "content_block_start", "text_delta", "content_block_stop",
        "message_delta", "message_stop",
    ]  # fmt: skip


def test_the_final_delta_lacks_lifetimes_tier_and_geography(client: anthropic.Anthropic) -> None:
    events = list(client.messages.create(**ASK, stream=True))

    start, delta = events[0], events[-2]
    assert start.type == "message_start"
    assert delta.type == "message_delta"
    assert start.message.usage.cache_creation is not None
    assert start.message.usage.inference_geo == "global"
    sent = delta.usage.model_dump(exclude_unset=True)
    assert set(sent) == {
        "input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens",
    }  # fmt: skip


def test_a_ping_is_sent_in_every_stream(emulator: Any, key: str) -> None:
    answer = httpx2.post(f"{emulator.url}/v1/messages", json={**ASK, "stream": True}, headers={"x-api-key": key})

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.count("event: ping\n") == 1


@pytest.mark.parametrize("limit", [1, 2, 9, 20])
def test_max_tokens_cuts_at_exactly_that_many(client: anthropic.Anthropic, limit: int) -> None:
    whole = client.messages.create(**ASK).content[0]

    cut = client.messages.create(**{**ASK, "max_tokens": limit})

    assert cut.stop_reason == "max_tokens"
    assert cut.usage.output_tokens == limit
    assert cut.content[0].type == whole.type == "text"
    assert whole.text.startswith(cut.content[0].text)
    assert whole.text != cut.content[0].text


def test_a_stop_sequence_ends_the_text_before_itself(client: anthropic.Anthropic) -> None:
    message = client.messages.create(**ASK, stop_sequences=["nowhere", "the main"])

    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", "the main")
    assert message.content[0].type == "text"
    assert message.content[0].text.endswith("about it: ")


def test_thinking_comes_first_and_is_counted(client: anthropic.Anthropic) -> None:
    message = client.messages.create(**{**ASK, **THINKING})

    thinking, text = message.content
    assert thinking.type == "thinking"
    assert thinking.signature
    assert text.type == "text"
    assert message.usage.output_tokens_details is not None
    spent = message.usage.output_tokens_details.thinking_tokens
    assert 0 < spent < message.usage.output_tokens


def test_answers_carry_a_request_id_and_rate_limits(client: anthropic.Anthropic) -> None:
    answer = client.messages.with_raw_response.create(**ASK)

    assert re.fullmatch(r"req_\w{20,}", answer.headers["request-id"])
    for unit in ("requests", "tokens", "input-tokens", "output-tokens"):
        for fact in ("limit", "remaining", "reset"):
            assert answer.headers[f"anthropic-ratelimit-{unit}-{fact}"]


@pytest.mark.parametrize("extra", VARIANTS.values(), ids=VARIANTS)
def test_count_tokens_equals_what_create_reports(client: anthropic.Anthropic, extra: dict[str, Any]) -> None:
    asked = {**ASK, **extra}
    known = ("model", "messages", "tools", "tool_choice", "thinking", "output_config")

    counted = client.messages.count_tokens(**{name: asked[name] for name in known if name in asked})

    assert counted.input_tokens == client.messages.create(**asked).usage.input_tokens


def test_every_model_of_the_sdk_is_listed_and_answers(client: anthropic.Anthropic) -> None:
    names = set(typing.get_args(typing.get_args(Model)[0]))

    listed = {model.id for model in client.models.list(limit=5)}

    assert listed == names
    for name in names:
        assert client.models.retrieve(name).id == name
        assert client.messages.with_raw_response.count_tokens(model=name, messages=ASK["messages"]).status_code == 200


def test_models_are_paged_both_ways(client: anthropic.Anthropic) -> None:
    first = client.models.list(limit=3)
    second = client.models.list(limit=3, after_id=first.data[-1].id)

    back = client.models.list(limit=3, before_id=second.data[0].id)

    assert first.has_more
    assert [model.id for model in back.data] == [model.id for model in first.data]
    assert back.has_more is False


def test_an_unknown_model_is_not_found(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError) as refusal:
        client.messages.create(**{**ASK, "model": "claude-nothing"})

    assert refusal.value.type == "not_found_error"
    assert refusal.value.request_id is not None
    with pytest.raises(anthropic.NotFoundError):
        client.models.retrieve("claude-nothing")


@pytest.mark.parametrize("headers", [{}, {"x-api-key": ""}, {"authorization": "Bearer"}, {"x-api-key": "invalid"},
                                     {"authorization": "Bearer sk-invalid-1"}])  # fmt: skip
def test_a_missing_or_invalid_key_is_refused(emulator: Any, headers: dict[str, str]) -> None:
    answer = httpx2.post(f"{emulator.url}/v1/messages", json=ASK, headers=headers)

    assert answer.status_code == 401
    assert answer.json()["error"]["type"] == "authentication_error"
    assert answer.json()["request_id"] == answer.headers["request-id"]


@pytest.mark.parametrize("headers", [{"x-api-key": "k"}, {"authorization": "Bearer k"}])
def test_both_headers_for_a_key_are_accepted(emulator: Any, headers: dict[str, str]) -> None:
    assert httpx2.post(f"{emulator.url}/v1/messages", json=ASK, headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"temperature": 0.5}, "temperature"),
        ({"top_p": 0.5}, "top_p"),
        ({"top_k": 5}, "top_k"),
        ({"surprise": 1}, "surprise"),
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 10_000_000}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "role"),
        ({"messages": [{"role": "user", "content": ""}]}, "non-empty"),
        ({"messages": [{"role": "user", "content": [{"type": "song"}]}]}, "song"),
        ({"messages": [*ASK["messages"], {"role": "assistant", "content": "It"}]}, "prefill"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "budget_tokens"),
        ({"tool_choice": {"type": "any"}}, "tool_choice"),
        ({"tools": [TOOL, TOOL]}, "unique"),
        ({"output_config": {"format": {"type": "json_schema", "schema": {"type": "thing"}}}}, "schema"),
        ({"output_config": {"format": {"type": "json_schema", "schema": {"$ref": "http://x.test/s"}}}}, "schema"),
        ({"output_config": FORMAT, "messages": CITED}, "citations"),
        ({"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]}]}, "tool_use_id"),
    ],
)  # fmt: skip
def test_what_the_api_refuses_is_a_bad_request_that_bills_nothing(
    client: anthropic.Anthropic, emulator: Any, key: str, change: dict[str, Any], named: str
) -> None:
    body = {name: value for name, value in {**ASK, **change}.items() if value is not None}

    with pytest.raises(anthropic.BadRequestError) as refusal:
        client.post("/v1/messages", body=body, cast_to=object)

    assert refusal.value.type == "invalid_request_error"
    assert named in str(refusal.value.api_message)
    assert emulator.journal(key) == []


def test_a_body_over_32_megabytes_is_too_large(client: anthropic.Anthropic) -> None:
    huge = "x" * (32 * 1024 * 1024 + 1)

    with pytest.raises(anthropic.ContentTooLargeError):
        client.messages.create(**{**ASK, "messages": [{"role": "user", "content": huge}]})


def test_a_prompt_longer_than_the_context_is_refused(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.BadRequestError, match="prompt is too long"):
        client.messages.create(
            model="claude-haiku-4-5", max_tokens=5, messages=[{"role": "user", "content": "word " * 200_001}]
        )
