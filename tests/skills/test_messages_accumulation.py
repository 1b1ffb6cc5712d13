"""A message put together from a stream is the message that the API answers without one."""

import itertools
import json
import os
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kit import sse
from kit.errors import UpstreamFailed
from skills.messages import Accumulation

WEATHER = {
    "name": "get_weather",
    "description": "Current weather of a city",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city", "days"],
    },
}
RIVERS = {
    "type": "document",
    "source": {"type": "text", "media_type": "text/plain", "data": "The Rhine is long. The Danube flows east."},
    "citations": {"enabled": True},
}
FORM = {
    "type": "json_schema",
    "schema": {
        "type": "object",
        "properties": {"river": {"type": "string"}},
        "required": ["river"],
        "additionalProperties": False,
    },
}
THINKING = [
    None,
    {"type": "enabled", "budget_tokens": 1024, "display": "summarized"},
    {"type": "enabled", "budget_tokens": 1024, "display": "omitted"},
]
_numbers = itertools.count(1)


@st.composite
def asked(draw: st.DrawFn) -> dict[str, Any]:
    """Requests with and without thinking, tools, documents, structured output, cache marks and a limit that cuts."""
    text = draw(st.sampled_from(["get_weather, city: Bern", "Which river flows east?", 'Zürich 🚀 \u2028 \\ "quoted"']))
    extras = draw(st.sampled_from(["nothing", "tools", "document", "form"]))
    block: dict[str, Any] = {"type": "text", "text": text + f"[[emulator:words:{draw(st.integers(1, 40))}]]"}
    if draw(st.booleans()):
        block["cache_control"] = {"type": "ephemeral", "ttl": draw(st.sampled_from(["5m", "1h"]))}
    body: dict[str, Any] = {
        "model": "claude-opus-5",
        "max_tokens": draw(st.sampled_from([0, 1, 3, 17, 2000])),
        "messages": [{"role": "user", "content": [block]}],
    }
    if extras == "document":
        body["messages"][0]["content"].insert(0, RIVERS)
    elif extras == "tools":
        body["tools"] = [WEATHER]
    elif extras == "form":
        body["output_config"] = {"format": FORM}
    thinking = draw(st.sampled_from(THINKING))
    if thinking and body["max_tokens"] > 1024:
        body["thinking"] = thinking
    return body


def emulated(body: dict[str, Any], *, key: str) -> httpx2.Response:
    url = f"{os.environ['SKILLGATE_EMULATOR_URL']}/v1/messages"
    return httpx2.post(url, json=body, headers={"x-api-key": key}, timeout=30)


def accumulated(raw: bytes) -> dict[str, Any]:
    gathered = Accumulation()
    for event in sse.Decoder().feed(raw):
        gathered.see(json.loads(event.data))
    return gathered.message()


def without_ids(message: dict[str, Any]) -> dict[str, Any]:
    """Every answer has ids of its own."""
    content = [
        {name: value for name, value in block.items() if name not in ("id", "signature")}
        for block in message["content"]
    ]
    return {**message, "id": "", "content": content}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(asked())
def test_an_accumulated_stream_equals_the_whole_answer(body: dict[str, Any]) -> None:
    number = next(_numbers)

    whole = emulated(body, key=f"whole-{os.getpid()}-{number}")
    streamed = emulated({**body, "stream": True}, key=f"streamed-{os.getpid()}-{number}")

    assert whole.status_code == streamed.status_code == 200
    assert without_ids(accumulated(streamed.content)) == without_ids(whole.json())


def event(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, **fields}


START = event(
    "message_start",
    message={
        "id": "msg_1",
        "content": [],
        "container": {"id": "c"},
        "usage": {"input_tokens": 3, "cache_creation": {"ephemeral_1h_input_tokens": 2}, "output_tokens": 1},
    },
)


def block(index: int, begun: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        event("content_block_start", index=index, content_block=begun),
        *(event("content_block_delta", index=index, delta=delta) for delta in deltas),
        event("content_block_stop", index=index),
    ]


def put_together(*events: dict[str, Any]) -> dict[str, Any]:
    gathered = Accumulation()
    for one in events:
        gathered.see(one)
    return gathered.message()


@pytest.mark.parametrize(
    ("begun", "deltas", "expected"),
    [
        (
            {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
            [
                {"type": "input_json_delta", "partial_json": '{"que'},
                {"type": "input_json_delta", "partial_json": 'ry":"x"}'},
            ],
            {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "x"}},
        ),
        (
            {"type": "redacted_thinking", "data": "abc"},
            [],
            {"type": "redacted_thinking", "data": "abc"},
        ),
        (
            {"type": "web_search_tool_result", "tool_use_id": "s", "content": [{"url": "u"}]},
            [],
            {"type": "web_search_tool_result", "tool_use_id": "s", "content": [{"url": "u"}]},
        ),
        (
            {"type": "compaction", "content": None},
            [{"type": "compaction_delta", "content": "so "}, {"type": "compaction_delta", "content": "far"}],
            {"type": "compaction", "content": "so far"},
        ),
        (
            {"type": "tool_use", "id": "t", "name": "n", "input": {}},
            [{"type": "input_json_delta", "partial_json": '{"cut'}],
            {"type": "tool_use", "id": "t", "name": "n", "input": {}},
        ),
        (
            {"type": "thinking", "thinking": "", "signature": ""},
            [{"type": "thinking_delta", "thinking": "hm"}, {"type": "signature_delta", "signature": "sig"}],
            {"type": "thinking", "thinking": "hm", "signature": "sig"},
        ),
    ],
)
def test_blocks_that_the_emulator_does_not_speak_are_put_together_too(
    begun: dict[str, Any], deltas: list[dict[str, Any]], expected: dict[str, Any]
) -> None:
    message = put_together(START, *block(0, begun, *deltas), event("message_stop"))

    assert message["content"] == [expected]


def test_usage_of_the_end_overrides_that_of_the_start_and_keeps_what_it_leaves_out() -> None:
    end = event(
        "message_delta",
        delta={"stop_reason": "end_turn", "stop_sequence": None, "container": None},
        usage={"output_tokens": 9, "input_tokens": None},
    )

    message = put_together(START, end, event("message_stop"))

    assert message["usage"] == {
        "input_tokens": 3,
        "cache_creation": {"ephemeral_1h_input_tokens": 2},
        "output_tokens": 9,
    }
    assert message["stop_reason"] == "end_turn"
    assert message["container"] == {"id": "c"}


@pytest.mark.parametrize(
    "events",
    [
        [],
        [event("message_start")],
        [START, event("content_block_delta", index=0, delta={"type": "text_delta", "text": "x"})],
        [START, event("content_block_start", index="0", content_block={})],
        [event("message_delta", delta={}, usage={})],
    ],
)
def test_a_stream_that_makes_no_message_is_refused(events: list[dict[str, Any]]) -> None:
    with pytest.raises(UpstreamFailed):
        put_together(*events)
