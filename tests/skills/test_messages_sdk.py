"""Anthropic's own Python SDK against a running platform, with only its address and key changed."""

import struct
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx2
import pydantic
import pytest

from tests.skills.gateway import Gateway, Key

MODEL = "claude-opus-5"
HELLO: Any = [{"role": "user", "content": "Hello there"}]
WEATHER: Any = {
    "name": "get_weather",
    "description": "Current weather of a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
RIVERS: Any = {
    "type": "document",
    "source": {"type": "text", "media_type": "text/plain", "data": "The Rhine is long. The Danube flows east."},
    "title": "Rivers",
    "citations": {"enabled": True},
}


class River(pydantic.BaseModel):
    name: str
    length: int


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", width, height) + b"\x08\x02\0\0\0"


@pytest.fixture
def client(gateway: Gateway, key: Key) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(api_key=key.secret, base_url=gateway.url, max_retries=0) as client:
        yield client


def test_create_answers_a_message_and_books_it_once(client: anthropic.Anthropic, key: Key) -> None:
    message = client.messages.create(model=MODEL, max_tokens=100, messages=HELLO)

    event = key.event()
    assert message.content[0].type == "text"
    assert message.stop_reason == "end_turn"
    assert (message.usage.input_tokens, message.usage.output_tokens) == (event["input_tokens"], event["output_tokens"])
    assert (event["entry_point"], event["skill"], event["model"], event["attempt"]) == ("messages", "", MODEL, 1)
    key.assert_books_agree()


def test_answers_carry_the_request_id_and_the_limits(client: anthropic.Anthropic, key: Key) -> None:
    response = client.messages.with_raw_response.create(model=MODEL, max_tokens=100, messages=HELLO)

    assert response.headers["request-id"] == key.event()["request_id"]
    assert response.headers["anthropic-ratelimit-requests-limit"] == "10000"
    assert int(response.headers["anthropic-ratelimit-tokens-remaining"]) < 100_000_000


@pytest.mark.parametrize("stream", [False, True])
def test_betas_reach_claude_as_they_were_asked_for(client: anthropic.Anthropic, key: Key, stream: bool) -> None:
    asked = {"anthropic-beta": "interleaved-thinking-2025-05-14,token-efficient-2026-01-01"}

    answer = client.messages.create(model=MODEL, max_tokens=100, messages=HELLO, stream=stream, extra_headers=asked)
    for _ in answer if isinstance(answer, anthropic.Stream) else ():
        pass

    assert [entry["betas"] for entry in key.billed()] == [asked["anthropic-beta"]]
    key.assert_books_agree()


def test_a_stream_ends_in_the_same_message_and_is_booked_before_it_ends(
    client: anthropic.Anthropic, gateway: Gateway, key: Key
) -> None:
    with client.messages.stream(model=MODEL, max_tokens=100, messages=HELLO) as stream:
        kinds = [event.type for event in stream]
        states = gateway.rows("SELECT state FROM usage_event WHERE key_id = %s", key.key_id)
        message = stream.get_final_message()

    assert states == [{"state": "settled"}]
    assert kinds[0] == "message_start"
    assert kinds[-1] == "message_stop"
    whole = client.messages.create(model=MODEL, max_tokens=100, messages=HELLO)
    assert [block.text for block in message.content if block.type == "text"] == [whole.content[0].text]  # type: ignore[union-attr]  # it is text, by the first test
    key.assert_books_agree()


def test_a_stream_carries_claudes_bytes_and_pings(client: anthropic.Anthropic, gateway: Gateway) -> None:
    asked: Any = {"model": MODEL, "max_tokens": 100, "messages": HELLO, "stream": True}
    with anthropic.Anthropic(api_key="straight", base_url=gateway.emulator) as straight:
        theirs = _frames(straight, asked)
    ours = _frames(client, asked)

    assert 'event: ping\ndata: {"type": "ping"}' in ours
    assert [frame for frame in ours if "msg_" not in frame] == [frame for frame in theirs if "msg_" not in frame]


def _frames(client: anthropic.Anthropic, asked: Any) -> list[str]:
    with client.messages.with_streaming_response.create(**asked) as response:
        return "".join(response.iter_text()).split("\n\n")


async def test_the_asynchronous_client_streams_too(gateway: Gateway, key: Key) -> None:
    async with anthropic.AsyncAnthropic(api_key=key.secret, base_url=gateway.url, max_retries=0) as client:
        async with client.messages.stream(model=MODEL, max_tokens=100, messages=HELLO) as stream:
            text = "".join([piece async for piece in stream.text_stream])
        message = await client.messages.create(model=MODEL, max_tokens=100, messages=HELLO)

    assert message.content[0].type == "text"
    assert message.content[0].text == text
    key.assert_books_agree()


def test_a_tool_makes_its_round_trip(client: anthropic.Anthropic, key: Key) -> None:
    asked: Any = {"role": "user", "content": "get_weather, city: Bern"}
    chosen = client.messages.create(
        model=MODEL, max_tokens=500, messages=[asked], tools=[WEATHER], tool_choice={"type": "any"}
    )
    used = next(block for block in chosen.content if block.type == "tool_use")
    result: Any = {"type": "tool_result", "tool_use_id": used.id, "content": "17 degrees in Bern"}
    answered = client.messages.create(
        model=MODEL,
        max_tokens=500,
        tools=[WEATHER],
        messages=[asked, chosen.to_param(), {"role": "user", "content": [result]}],
    )

    assert used.input == {"city": "Bern"}
    assert answered.content[0].type == "text"
    assert "17 degrees" in answered.content[0].text
    assert len(key.events()) == 2
    key.assert_books_agree()


def test_thinking_comes_through_with_its_signature(client: anthropic.Anthropic, key: Key) -> None:
    asked: Any = {
        "model": MODEL,
        "max_tokens": 3000,
        "messages": HELLO,
        "thinking": {"type": "enabled", "budget_tokens": 1024, "display": "summarized"},
    }
    message = client.messages.create(**asked)
    with client.messages.stream(**asked) as stream:
        streamed = stream.get_final_message()

    assert [block.type for block in message.content] == ["thinking", "text"]
    assert message.content[0].type == "thinking"
    assert message.content[0].thinking
    assert message.content[0].signature
    assert message.usage.output_tokens_details is not None
    assert message.usage.output_tokens_details.thinking_tokens > 0
    assert streamed.usage == message.usage
    key.assert_books_agree()


def test_documents_are_cited(client: anthropic.Anthropic, key: Key) -> None:
    content: Any = [RIVERS, {"type": "text", "text": "Which river flows east?"}]

    message = client.messages.create(model=MODEL, max_tokens=900, messages=[{"role": "user", "content": content}])

    cited = [one for block in message.content if block.type == "text" for one in block.citations or ()]
    assert cited
    assert cited[0].type == "char_location"
    assert cited[0].document_title == "Rivers"
    key.assert_books_agree()


def test_images_are_counted_by_their_size(client: anthropic.Anthropic, key: Key) -> None:
    data = b64encode(png(1000, 750)).decode()
    image: Any = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
    content: Any = [image, {"type": "text", "text": "What is this?"}]

    message = client.messages.create(model=MODEL, max_tokens=100, messages=[{"role": "user", "content": content}])

    assert message.usage.input_tokens > 1000
    key.assert_books_agree()


def test_structured_output_is_parsed(client: anthropic.Anthropic, key: Key) -> None:
    message = client.messages.parse(model=MODEL, max_tokens=500, messages=HELLO, output_format=River)

    assert isinstance(message.parsed_output, River)
    key.assert_books_agree()


def test_cached_prompts_are_booked_by_their_classes(client: anthropic.Anthropic, key: Key) -> None:
    system: Any = [{"type": "text", "text": "Be brief. " * 3000, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    system[0]["text"] += key.public_id
    for _ in range(2):
        message = client.messages.create(model=MODEL, max_tokens=50, system=system, messages=HELLO)

    written, read = key.events()
    assert written["cache_write_1h_tokens"] > 1000
    assert read["cache_read_tokens"] == written["cache_write_1h_tokens"] == message.usage.cache_read_input_tokens
    assert written["cost_micros"] > read["cost_micros"]
    key.assert_books_agree()


def test_stop_sequences_and_an_empty_answer_come_through(client: anthropic.Anthropic, key: Key) -> None:
    stopped = client.messages.create(model=MODEL, max_tokens=100, messages=HELLO, stop_sequences=["Here"])
    warmed = client.messages.create(model=MODEL, max_tokens=0, messages=HELLO)

    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "Here")
    assert warmed.usage.output_tokens == 0
    key.assert_books_agree()


def test_counting_tokens_is_exact_and_free(client: anthropic.Anthropic, key: Key) -> None:
    counted = client.messages.count_tokens(model=MODEL, messages=HELLO, system="Be brief.", tools=[WEATHER])
    message = client.messages.create(model=MODEL, max_tokens=10, messages=HELLO, system="Be brief.", tools=[WEATHER])

    assert counted.input_tokens == message.usage.input_tokens
    assert len(key.events()) == 1


def test_models_are_listed_page_by_page(client: anthropic.Anthropic) -> None:
    names = [model.id for model in client.models.list(limit=3)]

    assert MODEL in names
    assert len(names) == len(set(names)) > 3
    assert client.models.retrieve(MODEL).display_name == "Claude Opus 5"


def test_a_bearer_token_works_as_well_as_an_api_key(gateway: Gateway, key: Key) -> None:
    with anthropic.Anthropic(auth_token=key.secret, base_url=gateway.url, max_retries=0) as client:
        assert client.messages.create(model=MODEL, max_tokens=10, messages=HELLO).id.startswith("msg_")


def test_a_large_request_passes(client: anthropic.Anthropic, key: Key) -> None:
    data = b64encode(png(10, 10) + b"\0" * (18 * 1024 * 1024)).decode()
    image: Any = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}

    message = client.messages.create(model=MODEL, max_tokens=10, messages=[{"role": "user", "content": [image]}])

    assert message.type == "message"
    key.assert_books_agree()


def test_a_long_conversation_of_many_small_blocks_passes(client: anthropic.Anthropic, key: Key) -> None:
    turn: Any = [{"type": "text", "text": "go on"}] * 4
    turns: Any = [{"role": role, "content": turn} for _ in range(800) for role in ("user", "assistant")]

    message = client.messages.create(model=MODEL, max_tokens=10, messages=[*turns, *HELLO])

    assert message.type == "message"
    key.assert_books_agree()


def test_models_are_paged_in_both_directions(client: anthropic.Anthropic, gateway: Gateway, key: Key) -> None:
    names = [model.id for model in client.models.list(limit=100)]

    before = client.models.list(limit=2, before_id=names[3])
    after = client.models.list(limit=2, after_id=names[3])

    assert ([model.id for model in before.data], before.has_more) == (names[1:3], True)
    assert [model.id for model in after.data] == names[4:6]
    assert (before.first_id, before.last_id) == (names[1], names[2])
    for asked in ("limit=0", "limit=x", "limit=1001", "after_id=nothing", "before_id=nothing"):
        assert httpx2.get(f"{gateway.url}/v1/models?{asked}", headers=key.headers).status_code == 400


def test_counting_tells_of_claudes_faults(client: anthropic.Anthropic, gateway: Gateway, key: Key) -> None:
    wish = {"kind": "http_529", "path": "/v1/messages/count_tokens", "marker": key.public_id}
    assert httpx2.post(f"{gateway.emulator}/_emulator/faults", json=wish).status_code == 200

    with pytest.raises(anthropic.OverloadedError):
        client.messages.count_tokens(model=MODEL, messages=[{"role": "user", "content": key.public_id}])
    assert key.events() == []
