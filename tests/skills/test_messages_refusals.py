"""What the Messages API refuses, in classes that Anthropic's SDK knows, and how Claude's faults look and are booked."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anthropic
import httpx2
import pytest
from django.conf import settings

from tests.skills.gateway import CLASSES, Gateway, Key, MakeKey

MODEL = "claude-opus-5"
HELLO: Any = [{"role": "user", "content": "Hello there"}]


@contextmanager
def client_of(key: Key | str, gateway: Gateway) -> Iterator[anthropic.Anthropic]:
    secret = key if isinstance(key, str) else key.secret
    with anthropic.Anthropic(api_key=secret, base_url=gateway.url, max_retries=0) as client:
        yield client


def refused(key: Key | str, gateway: Gateway, **asked: Any) -> Any:
    """The error that a call ends with."""
    given: Any = {"model": MODEL, "max_tokens": 50, "messages": HELLO, **asked}
    with client_of(key, gateway) as client, pytest.raises(anthropic.APIStatusError) as caught:
        _answered(client, given)
    return caught.value


def _answered(client: anthropic.Anthropic, given: Any) -> None:
    answer: Any = client.messages.create(**given)
    if given.get("stream"):
        list(answer)


def post(key: Key, gateway: Gateway, body: Any, **headers: str) -> httpx2.Response:
    return httpx2.post(f"{gateway.url}/v1/messages", json=body, headers={**key.headers, **headers}, timeout=30)


# --- Refused before anything is spent ----------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", ["", "nonsense", "sg_live_" + "0" * 46])
def test_a_bad_key_is_refused(gateway: Gateway, secret: str) -> None:
    before = gateway.billed_before()

    error = refused(secret or "x", gateway)

    assert isinstance(error, anthropic.AuthenticationError)
    assert error.type == "authentication_error"
    assert gateway.billed_before() == before


def test_a_revoked_key_is_refused(gateway: Gateway, key: Key) -> None:
    key.revoke()

    assert isinstance(refused(key, gateway), anthropic.AuthenticationError)
    assert key.events() == []


def test_an_unfit_budget_is_refused_with_what_would_pass(gateway: Gateway, make_key: MakeKey) -> None:
    key = make_key(monthly_token_budget=200)

    error = refused(key, gateway, max_tokens=500)

    assert error.status_code == 402
    assert error.type == "billing_error"
    passing = error.body["error"]["would_pass"]["max_tokens"]
    assert key.events() == []
    with client_of(key, gateway) as client:
        assert client.messages.create(model=MODEL, max_tokens=passing, messages=HELLO).type == "message"
    key.assert_books_agree()


def test_over_the_rate_limit_is_refused_with_retry_after(gateway: Gateway, make_key: MakeKey) -> None:
    key = make_key(requests_per_minute=1)
    with client_of(key, gateway) as client:
        client.messages.create(model=MODEL, max_tokens=10, messages=HELLO)

    error = refused(key, gateway)

    assert isinstance(error, anthropic.RateLimitError)
    assert 1 <= int(error.response.headers["retry-after"]) <= 60
    assert len(key.events()) == 1


def test_counting_tokens_is_limited_and_gives_its_place_back(gateway: Gateway, make_key: MakeKey) -> None:
    key = make_key(requests_per_minute=2, concurrent_calls=1)

    with client_of(key, gateway) as client:
        for _ in range(2):
            client.messages.count_tokens(model=MODEL, messages=HELLO)
        with pytest.raises(anthropic.RateLimitError) as caught:
            client.messages.count_tokens(model=MODEL, messages=HELLO)

    assert caught.value.response.json()["error"]["reason"] == "requests_per_minute"
    assert key.events() == []


def test_a_model_without_a_price_is_not_found(gateway: Gateway, key: Key) -> None:
    error = refused(key, gateway, model="claude-next")

    assert isinstance(error, anthropic.NotFoundError)
    assert error.response.json()["error"]["message"] == "model: claude-next"
    assert key.events() == []


def test_a_key_uses_only_the_models_it_names(gateway: Gateway, make_key: MakeKey) -> None:
    key = make_key(allowed_models=["claude-haiku-4-5"])

    error = refused(key, gateway)

    assert isinstance(error, anthropic.PermissionDeniedError)
    assert key.events() == []
    with client_of(key, gateway) as client:
        assert [model.id for model in client.models.list()] == ["claude-haiku-4-5"]
        with pytest.raises(anthropic.NotFoundError):
            client.models.retrieve(MODEL)
        with pytest.raises(anthropic.PermissionDeniedError):
            client.messages.count_tokens(model=MODEL, messages=HELLO)
        client.messages.create(model="claude-haiku-4-5-20251001", max_tokens=10, messages=HELLO)


def test_a_key_without_the_verb_speaks_no_messages(gateway: Gateway, make_key: MakeKey) -> None:
    key = make_key(allowed_verbs=["run", "read"])

    with client_of(key, gateway) as client:
        for call in (
            lambda: client.messages.create(model=MODEL, max_tokens=10, messages=HELLO),
            lambda: client.messages.count_tokens(model=MODEL, messages=HELLO),
            client.models.list,
            lambda: client.models.retrieve(MODEL),
        ):
            with pytest.raises(anthropic.PermissionDeniedError):
                call()
    assert key.events() == []


GOOD: dict[str, Any] = {"model": MODEL, "max_tokens": 50, "messages": HELLO}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": None}, "model: Field required"),
        ({"model": 5}, "model: Input should be a string of 1 to 64 characters"),
        ({"max_tokens": None}, "max_tokens: Field required"),
        ({"max_tokens": True}, "max_tokens: Input should be a whole number from 0 to 1000000"),
        ({"max_tokens": -1}, "max_tokens: Input should be a whole number from 0 to 1000000"),
        ({"max_tokens": 1.5}, "max_tokens: Input should be a whole number from 0 to 1000000"),
        ({"messages": None}, "messages: Field required"),
        ({"messages": "hi"}, "messages: Input should be a valid list"),
        ({"messages": []}, "messages: at least one message is required"),
        ({"stream": "yes"}, "stream: Input should be a valid boolean"),
        ({"temperature": 1}, "temperature: this parameter is not supported"),
        ({"top_p": 1}, "top_p: this parameter is not supported"),
        ({"top_k": 1}, "top_k: this parameter is not supported"),
        ({"speed": "fast"}, "speed: only `standard` is offered here"),
        ({"inference_geo": "us"}, "inference_geo: only `global` is offered here"),
        ({"tools": [{"type": "web_search_20260209", "name": "web_search"}]}, "tools.0.type: 'web_search_20260209'"),
        ({"mcp_servers": [{"type": "url", "url": "https://x.example"}]}, "mcp_servers: not offered here"),
        ({"container": "c"}, "container: not offered here"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image", "source": {"type": "file", "file_id": "f"}}]}
                ]
            },
            "messages.0.content.0: files of the Files API",
        ),
    ],
)
def test_what_cannot_be_admitted_is_refused_by_name(
    gateway: Gateway, key: Key, change: dict[str, Any], message: str
) -> None:
    body = {name: value for name, value in {**GOOD, **change}.items() if value is not None}

    response = post(key, gateway, body)

    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"
    assert response.json()["error"]["message"].startswith(message)
    assert key.events() == []


@pytest.mark.parametrize("raw", [b"{bad", b"[]", b"5", b"[" * 5000 + b"]" * 5000, b'{"a": 1, "a": 2}', b"", b"\xff"])
def test_what_is_no_json_object_is_refused(gateway: Gateway, key: Key, raw: bytes) -> None:
    for path in ("messages", "messages/count_tokens"):
        response = httpx2.post(
            f"{gateway.url}/v1/{path}", content=raw, headers={**key.headers, "content-type": "application/json"}
        )
        assert response.status_code == 400
    assert key.events() == []


def test_a_body_over_the_limit_is_too_large(gateway: Gateway, key: Key) -> None:
    error = refused(key, gateway, messages=[{"role": "user", "content": "x" * (33 * 1024 * 1024)}])

    assert error.status_code == 413
    assert error.type == "request_too_large"
    assert key.events() == []


def test_what_claude_refuses_is_refused_and_releases_its_reservation(gateway: Gateway, key: Key) -> None:
    error = refused(key, gateway, extra_body={"nonsense": 1})

    assert isinstance(error, anthropic.BadRequestError)
    assert "nonsense" not in error.message
    assert key.event()["state"] == "released"
    assert key.billed() == []


@pytest.mark.parametrize("beta", ["a b", "x" * 100, "a,,b", "ä"])
def test_a_beta_header_that_is_no_list_of_names_is_refused(gateway: Gateway, key: Key, beta: str) -> None:
    raw = {b"anthropic-beta": beta.encode()}
    response = httpx2.post(
        f"{gateway.url}/v1/messages",
        json=GOOD,
        headers={**{k.encode(): v.encode() for k, v in key.headers.items()}, **raw},
    )

    assert response.status_code == 400
    assert key.events() == []


# --- Claude's faults -----------------------------------------------------------------------------------------------------

ALL = settings.CLAUDE_ATTEMPTS
FAULTS = [
    # fault, status, type, how its usage events are closed, and how many attempts there are
    ("http_400", 400, "invalid_request_error", "released", 1),
    ("http_401", 502, "api_error", "released", 1),
    ("http_403", 502, "api_error", "released", 1),
    ("http_404", 502, "api_error", "released", 1),
    ("http_413", 413, "request_too_large", "released", 1),
    ("http_429:0.01", 429, "rate_limit_error", "released", ALL),
    ("http_500", 502, "api_error", "released", ALL),
    ("http_529", 529, "overloaded_error", "released", ALL),
    ("html_502", 502, "api_error", "estimated", ALL),
    ("reset", 502, "api_error", "estimated", ALL),
    ("drop", 502, "api_error", "estimated", 1),
    ("hangup", 502, "api_error", "estimated", 1),
    ("truncate", 502, "api_error", "estimated", 1),
    ("malformed_json", 502, "api_error", "estimated", 1),
    ("error_event", 529, "overloaded_error", "estimated", 1),
    ("silence", 504, "timeout_error", "estimated", 1),
]
IN_THE_STREAM = {"drop", "hangup", "truncate", "malformed_json", "error_event", "silence"}


@pytest.mark.parametrize("is_streamed", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize(("fault", "status", "kind", "state", "attempts"), FAULTS, ids=[fault for fault, *_ in FAULTS])
def test_each_fault_is_told_and_each_attempt_booked_once(
    gateway: Gateway, key: Key, fault: str, status: int, kind: str, state: str, attempts: int, *, is_streamed: bool
) -> None:
    messages = [{"role": "user", "content": f"Hello [[emulator:{fault}]]"}]

    error = refused(key, gateway, messages=messages, stream=is_streamed)

    assert error.status_code == (200 if is_streamed and fault in IN_THE_STREAM else status)
    assert error.type == kind
    assert [error.body["request_id"]] * attempts == [event["request_id"] for event in key.events()]
    assert [event["state"] for event in key.events()] == [state] * attempts
    _assert_never_below_the_truth(key)


def _assert_never_below_the_truth(key: Key) -> None:
    billed = key.billed()
    assert len(billed) <= 1
    for entry in billed:
        event = key.event()
        assert event["state"] == "estimated"
        assert event["charged_tokens"] >= sum(entry["usage"][name] for name in CLASSES)


@pytest.mark.parametrize("shape", ["missing", "absurd"])
def test_unsound_usage_is_estimated_and_the_answer_still_given(gateway: Gateway, key: Key, shape: str) -> None:
    body = {**GOOD, "messages": [{"role": "user", "content": f"Hello [[emulator:usage_{shape}]]"}]}

    response = post(key, gateway, body)

    assert response.status_code == 200
    assert response.json()["content"][0]["type"] == "text"
    _assert_never_below_the_truth(key)


def test_a_refusal_of_the_model_is_an_answer(gateway: Gateway, key: Key) -> None:
    with client_of(key, gateway) as client:
        message = client.messages.create(
            model=MODEL, max_tokens=50, messages=[{"role": "user", "content": "[[emulator:refusal]]"}]
        )

    assert message.stop_reason == "refusal"
    key.assert_books_agree()


# --- Leaving and being ended -----------------------------------------------------------------------------------------------

LONG: Any = [{"role": "user", "content": "Tell [[emulator:words:2000]] [[emulator:chunk_ms:50]]"}]


@pytest.mark.parametrize("chunks", [1, 5])
def test_a_client_that_leaves_ends_the_call_upstream(gateway: Gateway, key: Key, chunks: int) -> None:
    body = {**GOOD, "max_tokens": 5000, "messages": LONG, "stream": True}
    with httpx2.stream("POST", f"{gateway.url}/v1/messages", json=body, headers=key.headers) as response:
        for _, _ in zip(range(chunks), response.iter_lines(), strict=False):
            pass
    left_at = time.monotonic()

    event = key.event()

    assert time.monotonic() - left_at < 3.5
    assert (event["state"], event["error_type"]) == ("estimated", "cancelled")
    assert key.billed()[0]["outcome"] == "client_gone"
    _assert_never_below_the_truth(key)


def test_revoking_a_key_ends_its_streams_at_once(gateway: Gateway, key: Key) -> None:
    body = {**GOOD, "max_tokens": 5000, "messages": LONG, "stream": True}
    with httpx2.stream("POST", f"{gateway.url}/v1/messages", json=body, headers=key.headers) as response:
        lines = response.iter_lines()
        for line in lines:
            if "text_delta" in line:
                break
        key.revoke()
        revoked_at = time.monotonic()
        rest = list(lines)

    assert time.monotonic() - revoked_at < 1.5
    assert rest[-3] == "event: error"
    assert "authentication_error" in rest[-2]
    assert key.event()["state"] == "estimated"
    _assert_never_below_the_truth(key)


# --- Safe retries ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_streamed", [False, True], ids=["json", "stream"])
def test_a_repeated_call_is_made_once(gateway: Gateway, key: Key, *, is_streamed: bool) -> None:
    body = {**GOOD, "stream": is_streamed}

    first = post(key, gateway, body, **{"Idempotency-Key": "one"})
    again = post(key, gateway, body, **{"Idempotency-Key": "one"})

    assert first.status_code == again.status_code == 200
    assert again.content == first.content
    assert again.headers["content-type"].startswith(first.headers["content-type"].partition(";")[0])
    assert again.headers["idempotent-replayed"] == "true"
    key.assert_books_agree()
    assert len(key.events()) == 1


def test_the_same_idempotency_key_for_another_body_is_refused(gateway: Gateway, key: Key) -> None:
    post(key, gateway, GOOD, **{"Idempotency-Key": "one"})

    assert post(key, gateway, {**GOOD, "stream": True}, **{"Idempotency-Key": "one"}).status_code == 422
    assert len(key.events()) == 1


def test_a_stream_that_must_be_made_once_goes_on_without_its_client(gateway: Gateway, key: Key) -> None:
    words = [{"role": "user", "content": "Tell [[emulator:words:60]] [[emulator:chunk_ms:20]]"}]
    body = {**GOOD, "max_tokens": 500, "messages": words, "stream": True}
    headers = {**key.headers, "Idempotency-Key": "one"}
    with httpx2.stream("POST", f"{gateway.url}/v1/messages", json=body, headers=headers) as response:
        next(response.iter_lines())
        in_between = post(key, gateway, body, **{"Idempotency-Key": "one"})

    key.assert_books_agree()
    replayed = post(key, gateway, body, **{"Idempotency-Key": "one"})
    assert (in_between.status_code, in_between.headers["retry-after"]) == (409, "1")
    assert replayed.text.endswith('event: message_stop\ndata: {"type": "message_stop"}\n\n')
    assert len(key.events()) == 1


@pytest.mark.parametrize("is_streamed", [False, True], ids=["json", "stream"])
def test_a_call_that_spent_nothing_may_be_made_again(gateway: Gateway, key: Key, *, is_streamed: bool) -> None:
    body = {**GOOD, "messages": [{"role": "user", "content": "[[emulator:http_529]]"}], "stream": is_streamed}

    for _ in range(2):
        assert post(key, gateway, body, **{"Idempotency-Key": "one"}).status_code == 529

    assert [(event["state"], event["attempt"]) for event in key.events()] == [
        ("released", 1 + n) for n in range(ALL)
    ] * 2


@pytest.mark.parametrize(("fault", "attempts"), [("html_502", ALL), ("drop", 1)])
def test_a_failure_that_cost_is_repeated_as_it_was(gateway: Gateway, key: Key, fault: str, attempts: int) -> None:
    body = {**GOOD, "messages": [{"role": "user", "content": f"[[emulator:{fault}]]"}], "stream": True}

    first = post(key, gateway, body, **{"Idempotency-Key": "one"})
    again = post(key, gateway, body, **{"Idempotency-Key": "one"})

    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert len(key.events()) == attempts
