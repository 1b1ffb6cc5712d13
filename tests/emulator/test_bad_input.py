"""Whatever is sent, the answer is an envelope with a 4xx or a message, never a 500."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Iterator

VALID: dict[str, Any] = {
    "model": "claude-haiku-4-5",
    "max_tokens": 50,
    "stream": False,
    "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral", "ttl": "5m"}}],
    "stop_sequences": ["END"],
    "metadata": {"user_id": "u"},
    "thinking": {"type": "adaptive"},
    "tools": [{"name": "look", "description": "d", "input_schema": {"type": "object", "properties": {"a": {"type": "string"}}}}],
    "tool_choice": {"type": "auto"},
    "output_config": {"format": {"type": "json_schema", "schema": {"type": "object", "properties": {"a": {"enum": ["x"]}}}}},
    "messages": [
        {"role": "user", "content": [
            {"type": "text", "text": "Hi"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "A text."}, "title": "T"},
            {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "B"}]}},
        ]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "look", "input": {"a": "b"}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "C"}]}]},
    ],
}  # fmt: skip


def paths(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of everything inside a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in inside:
        yield (*at, key)
        yield from paths(inner, (*at, key))


def changed(path: tuple[Any, ...], junk: Any) -> dict[str, Any]:
    """Return the valid request with something else at one place."""
    body = copy.deepcopy(VALID)
    holder: Any = body
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = junk
    return body


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def check(answer: httpx2.Response) -> None:
    """Assert that an answer is a message, a stream or an envelope of a client's error."""
    assert answer.status_code == 200 or 400 <= answer.status_code < 500, answer.text
    if answer.status_code != 200:
        assert answer.json()["type"] == "error"
        assert answer.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
def test_the_valid_request_is_valid(emulator: Any, path: str) -> None:
    known = ("model", "messages", "tools", "system", "thinking", "tool_choice", "output_config")
    body = VALID if path == "/v1/messages" else {name: VALID[name] for name in known}

    assert httpx2.post(f"{emulator.url}{path}", json=body, headers={"x-api-key": "k"}).status_code == 200


@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(list(paths(VALID))), junk=JUNK)
def test_junk_in_any_place_is_never_a_500(client_of_junk: httpx2.Client, path: tuple[Any, ...], junk: Any) -> None:
    check(client_of_junk.post("/v1/messages", content=json.dumps(changed(path, junk))))


SCHEMA_WORDS = st.sampled_from(
    ["type", "properties", "items", "enum", "anyOf", "$ref", "minimum", "maxLength", "required", "multipleOf", "allOf"]
)


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    word=SCHEMA_WORDS, junk=JUNK | st.sampled_from(["#", "#/$defs/x", "#/properties/a", "http://x.test/", [{}], 1e308])
)
def test_a_strange_schema_is_never_a_500(client_of_junk: httpx2.Client, word: str, junk: Any) -> None:
    schema = {"type": "object", "properties": {"a": {word: junk}}, "required": ["a"]}
    body = {**VALID, "tools": [], "output_config": {"format": {"type": "json_schema", "schema": schema}}}

    check(client_of_junk.post("/v1/messages", content=json.dumps({**body, "messages": VALID["messages"][:1]})))


@pytest.fixture
def client_of_junk(emulator: Any) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=emulator.url, headers={"x-api-key": "k"}) as client:
        yield client


@pytest.mark.parametrize(
    "raw",
    [b"", b"null", b"[]", b'"x"', b"{", b"\xff\xfe", b'{"model": NaN}', b"[" * 100_000, b'{"a":' * 5_000,
     b'{"model": "claude-opus-5", "max_tokens": 1e400, "messages": [{"role": "user", "content": "x"}]}',
     b'{"model": "claude-opus-5", "max_tokens": ' + b"9" * 5_000 + b"}",
     b'{"model": "claude-opus-5", "max_tokens": 5, "messages": [{"role": "user", "content": "\\ud800"}]}'],
    ids=lambda raw: raw[:16].hex(),
)  # fmt: skip
def test_a_body_that_is_no_request_is_a_bad_request(client_of_junk: httpx2.Client, raw: bytes) -> None:
    answer = client_of_junk.post("/v1/messages", content=raw)

    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"type": "integer", "minimum": 10**400}, "x"),
        ({"$defs": {"t": {"type": "object", "properties": {"l": {"$ref": "#/$defs/t"}, "r": {"$ref": "#/$defs/t"}}, "required": ["l", "r"]}}, "$ref": "#/$defs/t"}, "x"),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 10**12}, "x"),
        ({"type": "string", "minLength": 10**12}, "x"),
        ({"type": "string"}, "<a>" * 60_000),
        ({"allOf": [{"$ref": "#"}]}, "x"),
    ],
    ids=["number", "endless tree", "items", "length", "tags", "itself"],
)  # fmt: skip
def test_a_request_made_to_exhaust_is_answered_soon(client_of_junk: httpx2.Client, schema: Any, text: str) -> None:
    body = {
        "model": "claude-opus-5",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": text}],
        "output_config": {"format": {"type": "json_schema", "schema": schema}},
    }

    check(client_of_junk.post("/v1/messages", content=json.dumps(body), timeout=5))


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/messages", 405), ("POST", "/v1/unknown", 404), ("GET", "/", 404), ("GET", "/_emulator/x", 404),
     ("PUT", "/_emulator/faults", 405), ("GET", "/v1/models?limit=x", 400), ("GET", "/v1/models?after_id=x", 400)],
)  # fmt: skip
def test_other_paths_and_methods_are_refused(
    client_of_junk: httpx2.Client, method: str, path: str, status: int
) -> None:
    answer = client_of_junk.request(method, path)

    assert answer.status_code == status
    assert answer.json()["type"] == "error"
