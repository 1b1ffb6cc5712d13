"""The official MCP client against a running platform, in both generations of the protocol."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import httpx2
import jsonschema_rs
import mcp_types as types
import pytest
from django.conf import settings
from mcp import MCPError
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

from tests.skills.gateway import Gateway, Key, MakeKey

Era = Literal["auto", "legacy"]
ERAS: tuple[Era, ...] = ("auto", "legacy")
MODERN = "2026-07-28"
HANDSHAKE = "2025-11-25"
SLOWLY = "A cat sat on a mat. [[emulator:chunk_ms:60]] [[emulator:words:60]]"
ENDLESSLY = "A cat sat on a mat. [[emulator:chunk_ms:100]] [[emulator:words:2000]]"


@asynccontextmanager
async def connected(key: Key, *, era: Era) -> AsyncIterator[Client]:
    async with (
        httpx2.AsyncClient(headers=key.headers, timeout=30) as http,
        Client(streamable_http_client(f"{key.gateway.url}/mcp", http_client=http), mode=era) as client,
    ):
        yield client


def envelope(result: types.CallToolResult) -> dict[str, Any]:
    """The error a tool ended with."""
    assert result.is_error
    assert isinstance(result.content[0], types.TextContent)
    told: dict[str, Any] = json.loads(result.content[0].text)
    assert set(told) == {"type", "error", "request_id"}
    error: dict[str, Any] = told["error"]
    return error


@pytest.mark.parametrize("era", ERAS)
async def test_each_skill_is_a_tool_with_its_schema(key: Key, era: Era) -> None:
    skill = httpx2.get(f"{key.gateway.url}/v1/skills/classify", headers=key.headers).json()

    async with connected(key, era=era) as client:
        listed = await client.list_tools()

    tools = {tool.name: tool for tool in listed.tools}
    assert {"answer", "chat", "classify", "complete", "extract", "summarize", "translate"} <= set(tools)
    classify = tools["classify"]
    assert classify.title == "Classify"
    assert classify.description == skill["description"]
    assert classify.input_schema == skill["input_schema"]
    assert classify.annotations is not None
    assert classify.annotations.read_only_hint is True
    assert listed.cache_scope == "private"
    for tool in listed.tools:
        assert tool.output_schema is not None
        assert tool.output_schema["type"] == "object"
        jsonschema_rs.meta.validate(tool.output_schema)


@pytest.mark.parametrize("era", ERAS)
async def test_a_text_skill_answers_as_text_and_structured_and_is_booked_once(key: Key, era: Era) -> None:
    async with connected(key, era=era) as client:
        result = await client.call_tool("summarize", {"text": "A cat sat on a mat."})

    event = key.event()
    assert not result.is_error
    assert isinstance(result.content[0], types.TextContent)
    assert result.structured_content == {"output": result.content[0].text}
    assert result.meta is not None
    assert result.meta["skillgate/usage"]["output_tokens"] == event["output_tokens"]
    assert (event["entry_point"], event["skill"]) == ("mcp", "summarize")
    key.assert_books_agree()


ANIMAL = {
    "type": "object",
    "properties": {"animal": {"type": "string"}},
    "required": ["animal"],
    "additionalProperties": False,
}
DOCUMENTS = [{"text": "The Rhine is long. The Danube flows east.", "title": "Rivers"}]


@pytest.mark.parametrize(
    ("skill", "arguments"),
    [
        ("classify", {"text": "A cat", "labels": ["animal", "plant"]}),
        ("extract", {"text": "A cat", "schema": ANIMAL}),
        ("answer", {"question": "Which river flows east?", "documents": DOCUMENTS}),
        ("chat", {"messages": [{"role": "user", "content": "Hello"}]}),
        ("translate", {"text": "A cat", "to": "German"}),
        ("complete", {"prompt": "A cat"}),
    ],
)
async def test_what_a_tool_answers_fits_the_schema_it_promised(key: Key, skill: str, arguments: dict[str, Any]) -> None:
    async with connected(key, era="auto") as client:
        promised = {tool.name: tool for tool in (await client.list_tools()).tools}[skill].output_schema
        result = await client.call_tool(skill, arguments)

    assert not result.is_error, result
    assert promised is not None
    jsonschema_rs.validate(promised, result.structured_content)
    key.assert_books_agree()


Heard = list[tuple[float, float | None, str | None]]


async def progress_of_a_call(key: Key, *, era: Era) -> tuple[Heard, types.CallToolResult]:
    """What a client hears of a slow call, and its result."""
    heard: Heard = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, total, message))

    async with connected(key, era=era) as client:
        return heard, await client.call_tool("summarize", {"text": SLOWLY}, progress_callback=hear)


@pytest.mark.parametrize("era", ERAS)
async def test_progress_is_reported_while_claude_writes(key: Key, era: Era) -> None:
    heard, result = await progress_of_a_call(key, era=era)

    assert isinstance(result.content[0], types.TextContent)
    assert len(heard) >= 4
    assert heard[0][0] == 0
    assert [one[0] for one in heard] == sorted({one[0] for one in heard})
    assert heard[-1][:2] == (len(result.content[0].text) + 1, len(result.content[0].text) + 1)


# --- Refusals and faults -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("era", ERAS)
async def test_input_that_does_not_fit_is_a_result_that_says_where(key: Key, era: Era) -> None:
    async with connected(key, era=era) as client:
        error = envelope(await client.call_tool("summarize", {"text": 5}))

    assert (error["type"], error["path"]) == ("invalid_request_error", "/text")
    assert key.events() == []


@pytest.mark.parametrize("era", ERAS)
async def test_a_call_over_budget_is_a_result_that_says_what_would_pass(make_key: MakeKey, era: Era) -> None:
    key = make_key(monthly_token_budget=50)

    async with connected(key, era=era) as client:
        error = envelope(await client.call_tool("summarize", {"text": "A cat"}))

    assert (error["type"], error["reason"]) == ("billing_error", "budget_exceeded")
    assert "would_pass" in error
    assert key.events() == []


async def test_a_call_over_the_rate_limit_is_a_result_that_says_when(make_key: MakeKey) -> None:
    key = make_key(requests_per_minute=1)

    async with connected(key, era="auto") as client:
        assert not (await client.call_tool("summarize", {"text": "A cat"})).is_error
        error = envelope(await client.call_tool("summarize", {"text": "A cat"}))

    assert error["type"] == "rate_limit_error"
    assert 1 <= error["retry_after"] <= 60
    assert len(key.events()) == 1


@pytest.mark.parametrize(
    ("fault", "kind", "state"),
    [
        ("http_529", "overloaded_error", "released"),
        ("http_429:0.01", "rate_limit_error", "released"),
        ("drop", "api_error", "estimated"),
        ("truncate", "api_error", "estimated"),
        ("error_event", "overloaded_error", "estimated"),
        ("silence", "timeout_error", "estimated"),
    ],
)
async def test_each_fault_of_claude_is_a_result_and_each_attempt_booked(
    key: Key, fault: str, kind: str, state: str
) -> None:
    async with connected(key, era="auto") as client:
        error = envelope(await client.call_tool("summarize", {"text": f"A cat [[emulator:{fault}]]"}))

    attempts = settings.CLAUDE_ATTEMPTS if state == "released" else 1
    assert error["type"] == kind
    assert [event["state"] for event in key.events()] == [state] * attempts


@pytest.mark.parametrize("era", ERAS)
async def test_a_skill_outside_of_the_keys_scope_is_no_tool(make_key: MakeKey, era: Era) -> None:
    key = make_key(allowed_skills=["translate"])

    async with connected(key, era=era) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["translate"]
        with pytest.raises(MCPError) as foreign:
            await client.call_tool("summarize", {"text": "A cat"})
        with pytest.raises(MCPError) as absent:
            await client.call_tool("nothing", {"text": "A cat"})

    assert foreign.value.error.model_dump() == {
        **absent.value.error.model_dump(),
        "message": "Unknown tool: summarize",
    }
    assert key.events() == []


async def test_revoking_a_key_ends_its_call_at_once_and_every_later_one(key: Key) -> None:
    async def revoke(progress: float, total: float | None, message: str | None) -> None:
        if progress > 0 and not revoked_at:
            revoked_at.append(time.monotonic())
            key.revoke()

    revoked_at: list[float] = []
    async with connected(key, era="auto") as client:
        error = envelope(await client.call_tool("summarize", {"text": ENDLESSLY}, progress_callback=revoke))

    assert time.monotonic() - revoked_at[0] < 1.5
    assert error["type"] == "authentication_error"
    assert key.event()["state"] == "estimated"
    assert _post(key, LIST).status_code == 401


# --- The door ----------------------------------------------------------------------------------------------------------

LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}


def _post(key: Key, message: Any, **headers: str) -> httpx2.Response:
    accepted = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    raw = message if isinstance(message, bytes) else json.dumps(message).encode()
    return httpx2.post(f"{key.gateway.url}/mcp", content=raw, headers={**key.headers, **accepted, **headers})


def test_every_bad_key_gets_the_same_answer(key: Key, make_key: MakeKey) -> None:
    revoked = make_key()
    revoked.revoke()
    bad = ["Bearer nonsense", "Basic x", f"Bearer {revoked.secret}", f"Bearer {key.secret[:-1]}!"]

    answers = [_post(key, LIST, Authorization=one) for one in bad]
    answers.append(httpx2.post(f"{key.gateway.url}/mcp", json=LIST))
    answers.append(httpx2.get(f"{key.gateway.url}/mcp"))

    assert {answer.status_code for answer in answers} == {401}
    assert {answer.headers["www-authenticate"] for answer in answers} == {'Bearer realm="skillgate"'}
    assert len({json.dumps({**answer.json(), "request_id": ""}) for answer in answers}) == 1


def test_both_headers_that_carry_keys_work(key: Key) -> None:
    assert _post(key, LIST, Authorization="", **{"X-API-Key": key.secret}).status_code == 200
    assert _post(key, LIST).status_code == 200


def test_a_key_without_the_verb_is_refused(make_key: MakeKey) -> None:
    answer = _post(make_key(allowed_verbs=["messages"]), LIST)

    assert (answer.status_code, answer.json()["error"]["type"]) == (403, "permission_error")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 400),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:5000"}, 200),
        ({"Content-Type": "text/plain"}, 415),
        ({"Accept": "text/html"}, 406),
        ({"MCP-Protocol-Version": "1999-01-01"}, 400),
    ],
)
def test_headers_that_do_not_belong_here_are_refused(key: Key, headers: dict[str, str], status: int) -> None:
    answer = _post(key, LIST, **headers)

    assert answer.status_code == status
    assert "request-id" in answer.headers


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
def test_only_post_is_spoken(key: Key, method: str) -> None:
    answer = httpx2.request(method, f"{key.gateway.url}/mcp", headers=key.headers)

    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("version", [None, HANDSHAKE, MODERN])
@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{bad",
        b"\xff\xfe",
        b"[" * 5000 + b"]" * 5000,
        b'{"a": 1, "a": 2}',
        b"[]",
        b"5",
        b'[{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}]',
        b'{"jsonrpc": "2.0", "id": 1}',
        b'{"jsonrpc": "1.0", "id": 1, "method": "tools/list"}',
        b'{"jsonrpc": "2.0", "id": 1e400, "method": "tools/list"}',
        b'{"jsonrpc": "2.0", "id": {"a": []}, "method": "tools/list"}',
        b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": 5}',
        b'{"jsonrpc": "2.0", "id": 1, "result": {}}',
    ],
)
def test_what_is_no_message_is_refused_and_never_a_crash(key: Key, raw: bytes, version: str | None) -> None:
    answer = _post(key, raw, **({"MCP-Protocol-Version": version} if version else {}))

    assert answer.status_code == 400
    assert "error" in answer.json()


def test_a_body_over_the_limit_is_refused(key: Key) -> None:
    answer = _post(key, b" " * (4 * 1024 * 1024 + 1))

    assert (answer.status_code, answer.json()["error"]["type"]) == (413, "request_too_large")


def _calling(text: str, *, version: str) -> dict[str, Any]:
    meta: dict[str, Any] = {"progressToken": "p"}
    if version == MODERN:
        prefix = "io.modelcontextprotocol/"
        meta |= {f"{prefix}protocolVersion": version, f"{prefix}clientCapabilities": {}}
    params = {"name": "summarize", "arguments": {"text": text}, "_meta": meta}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}


def leaves_in_the_middle(key: Key, *, version: str) -> None:
    """Hangs up once the call has begun to answer."""
    headers = {
        **key.headers,
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": version,
        "Mcp-Method": "tools/call",
        "Mcp-Name": "summarize",
    }
    message = _calling(ENDLESSLY, version=version)
    with httpx2.stream("POST", f"{key.gateway.url}/mcp", json=message, headers=headers) as answer:
        heard = next(line for line in answer.iter_lines() if "characters written" in line)
    assert "notifications/progress" in heard


@pytest.mark.parametrize("version", [HANDSHAKE, MODERN])
def test_a_client_that_leaves_ends_its_run(key: Key, version: str) -> None:
    leaves_in_the_middle(key, version=version)
    left_at = time.monotonic()

    event = key.event()

    assert time.monotonic() - left_at < 3.5
    assert (event["state"], event["error_type"]) == ("estimated", "cancelled")
    assert key.billed()[0]["outcome"] == "client_gone"


async def test_many_calls_at_once_are_each_booked_once(key: Key, gateway: Gateway) -> None:
    async with connected(key, era="auto") as client:
        results = await asyncio.gather(
            *(client.call_tool("translate", {"text": f"cat {n}", "to": "German"}) for n in range(20))
        )

    assert not any(result.is_error for result in results)
    assert len(key.events()) == 20
    key.assert_books_agree()
