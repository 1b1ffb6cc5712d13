"""Whatever a client sends: a 4xx in our envelope within a second, nothing written, nothing called upstream."""

import json
from typing import Any

import psutil
import pytest

from tests.api.conftest import Send
from tests.skills.gateway import Gateway, Key

RUN = "/v1/skills/summarize"
LONGEST_SECONDS = 1.0


def _input(**fields: Any) -> bytes:
    return json.dumps({"input": fields}).encode()


def _with(value: bytes) -> bytes:
    return b'{"input": {"text": "a", "max_words": ' + value + b"}}"


def _text(value: bytes) -> bytes:
    return b'{"input": {"text": "a' + value + b'b"}}'


BODIES: dict[str, tuple[bytes, int]] = {
    "empty": (b"", 400),
    "blank": (b"   ", 400),
    "malformed": (b'{"input":', 400),
    "two documents": (b"{}{}", 400),
    "5,000 deep arrays": (b"[" * 5000 + b"]" * 5000, 400),
    "5,000 deep objects": (b'{"input":' * 5000 + b"1" + b"}" * 5000, 400),
    "60 MB": (b'{"input": {"text": "' + b"a" * 60_000_000 + b'"}}', 413),
    "a list": (b"[]", 400),
    "null": (b"null", 400),
    "a string": (b'"text"', 400),
    "a number": (b"5", 400),
    "a wrong type": (_input(text=5), 400),
    "a missing field": (_input(), 400),
    "NaN": (_with(b"NaN"), 400),
    "Infinity": (_with(b"-Infinity"), 400),
    "1e400": (_with(b"1e400"), 400),
    "a 5,000-digit number": (_with(b"9" * 5000), 400),
    "a number with 5,000 zeros": (_with(b"1." + b"0" * 5000), 400),
    "a lone surrogate": (_text(rb"\ud800"), 400),
    "a lone surrogate in a key": (rb'{"input": {"\udfff": 1}}', 400),
    "an escaped NUL": (_text(rb"\u0000"), 400),
    "a raw NUL": (_text(b"\x00"), 400),
    "invalid UTF-8": (_text(b"\xff\xfe"), 400),
    "an overlong encoding": (_text(b"\xc0\x80"), 400),
    "UTF-16": ('{"input": {"text": "a"}}'.encode("utf-16"), 400),
    "a byte order mark": (b"\xef\xbb\xbf" + _input(text="a"), 400),
    "duplicate keys": (b'{"input": {"text": "a", "text": "b"}}', 400),
    "20,000 keys": (json.dumps({"input": {f"k{n}": n for n in range(20_000)}}).encode(), 400),
    "the skill's fields at the top": (b'{"text": "a"}', 400),
    "an unknown field": (b'{"input": {"text": "a"}, "surprise": 1}', 400),
    "an unknown field of the skill": (_input(text="a", surprise=1), 400),
    "version 0": (b'{"input": {"text": "a"}, "version": 0}', 400),
    "version 2**62": (b'{"input": {"text": "a"}, "version": 4611686018427387904}', 400),
    "an absent version": (b'{"input": {"text": "a"}, "version": 99}', 404),
    "an absurd label": (json.dumps({"input": {"text": "a"}, "label": "x" * 1000}).encode(), 400),
    "an absent label": (b'{"input": {"text": "a"}, "label": "nowhere"}', 404),
    "label and version": (b'{"input": {"text": "a"}, "label": "production", "version": 1}', 400),
    "max_tokens 0": (b'{"input": {"text": "a"}, "max_tokens": 0}', 400),
    "max_tokens true": (b'{"input": {"text": "a"}, "max_tokens": true}', 400),
    "max_tokens as text": (b'{"input": {"text": "a"}, "max_tokens": "5"}', 400),
    "max_tokens 1.5": (b'{"input": {"text": "a"}, "max_tokens": 1.5}', 400),
    "max_tokens over the ceiling": (b'{"input": {"text": "a"}, "max_tokens": 999999}', 400),
}


@pytest.fixture(autouse=True)
def nothing_happened(gateway: Gateway, key: Key) -> Any:
    calls = gateway.billed_before()
    yield
    assert key.events() == []
    assert gateway.billed_before() == calls


@pytest.mark.parametrize("name", BODIES)
def test_a_bad_body_is_refused_by_name(name: str, send: Send) -> None:
    body, status = BODIES[name]

    answered = send(RUN, body)

    assert (answered.status, answered.json["type"]) == (status, "error")
    assert answered.error["message"]
    assert answered.json["request_id"] == answered.headers["request-id"]
    assert answered.seconds < LONGEST_SECONDS


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        (None, 415),
        ("application/xml", 415),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data", 415),
        ("application/json; charset=utf-16", 415),
        (";;;///", 415),
    ],
)
def test_another_content_type_is_refused(content_type: str | None, status: int, send: Send) -> None:
    answered = send(RUN, _input(text="a"), headers={"Content-Type": content_type})

    assert (answered.status, answered.error["type"]) == (status, "invalid_request_error")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/skills/nowhere",
        "/v1/skills/" + "a" * 3000,
        "/v1/skills/a%00b",
        "/v1/skills/%ff%fe",
        "/v1/skills/%F0%9F%92%A9",
        "/v1/skills/a/b/c",
        "/v1/skills/../key",
        "/v1/skills/",
        "/v1/nowhere",
        "/v1",
        "/v1/",
        "/v1//skills",
        "/health/nowhere",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_does_not_exist_is_a_404_in_the_envelope(path: str, method: str, send: Send) -> None:
    answered = send(path, _input(text="a") if method == "POST" else None, method=method)

    assert (answered.status, answered.error["type"]) == (404, "not_found_error")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE", "BREW"])
def test_another_method_is_refused(method: str, send: Send) -> None:
    answered = send(RUN, b"{}", method=method)

    assert answered.status == 405
    assert "POST" in answered.headers["allow"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": None},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer zzz"},
        {"Authorization": "Basic zzz"},
        {"Authorization": "Bearer \xe9\xff"},
        {"Authorization": "Bearer " + "a" * 7000},
        {"X-API-Key": "sg_live_another"},
    ],
)
def test_every_bad_credential_gets_the_same_answer(headers: dict[str, str | None], send: Send) -> None:
    answered = send(RUN, _input(text="a"), headers=headers)
    absent = send(RUN, _input(text="a"), headers={"Authorization": None})

    assert answered.status == 401
    assert answered.json["error"] == absent.json["error"]
    assert answered.headers["www-authenticate"]


@pytest.mark.parametrize("query", ["key=%s", "api_key=%s", "token=%s"])
def test_a_key_in_the_url_opens_nothing(query: str, send: Send, key: Key) -> None:
    answered = send("/v1/key?" + query % key.secret, headers={"Authorization": None})

    assert answered.status == 401


@pytest.mark.parametrize(
    "query",
    [
        "from=x",
        "from=2026-13-01",
        "from=9999-12-31",
        "to=0001-01-01",
        "from=2026-11-20&to=2026-11-01",
        "limit=0",
        "limit=-1",
        "limit=1e9",
        "limit=201",
        "limit=%00",
        "limit=%D9%A3",
        "cursor=abc",
        "cursor=%ff",
        "cursor=bjk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk",
        "state=nowhere",
        "skill=%00",
        "skill=" + "a" * 100,
        "surprise=1",
    ],
)
def test_a_bad_parameter_is_refused_by_name(query: str, send: Send) -> None:
    answered = send("/v1/usage?" + query)

    assert (answered.status, answered.error["type"]) == (400, "invalid_request_error")
    assert answered.error["path"] == query.partition("=")[0]


@pytest.mark.parametrize(
    "schema",
    [
        5,
        {"type": "nonsense"},
        {"type": "object", "properties": {"a": {"$ref": "http://elsewhere.example/x"}}},
        {"type": "object", "properties": {"a": {"$ref": "#"}}},
        {"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}},
        {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(4000)}},
    ],
)
def test_a_schema_that_cannot_be_answered_is_refused(schema: Any, send: Send) -> None:
    answered = send("/v1/skills/extract", _input(text="a", schema=schema))

    assert answered.status == 400
    assert answered.error["path"].startswith("/schema")


@pytest.mark.parametrize("name", ["temperature", "top_p", "top_k"])
def test_a_parameter_that_is_gone_is_refused_saying_so(name: str, send: Send) -> None:
    answered = send("/v1/completions", {"messages": [{"role": "user", "content": "Hello"}], name: 0.5})

    assert answered.status == 400
    assert answered.error["path"] == f"/{name}"
    assert "no longer" in answered.error["message"]


def test_a_false_host_is_refused_in_the_envelope(send: Send) -> None:
    answered = send("/v1/key", headers={"Host": "elsewhere.example"})

    assert (answered.status, answered.error["type"]) == (400, "invalid_request_error")


def test_a_request_id_that_is_not_safe_to_repeat_is_replaced(send: Send) -> None:
    kept = send("/v1/nowhere", headers={"X-Request-ID": "my-own-request-1"})
    replaced = send("/v1/nowhere", headers={"X-Request-ID": "<script>alert(1)</script>"})

    assert kept.json["request_id"] == "my-own-request-1"
    assert replaced.json["request_id"].startswith("req_")


def test_large_refused_bodies_leave_the_memory_flat(gateway: Gateway, send: Send) -> None:
    server = psutil.Process(gateway.server_pid)
    send(RUN, BODIES["60 MB"][0])
    before = server.memory_info().rss

    for _ in range(10):
        assert send(RUN, BODIES["60 MB"][0]).status == 413
        assert send(RUN, BODIES["20,000 keys"][0]).status == 400

    assert server.memory_info().rss - before < 20_000_000
