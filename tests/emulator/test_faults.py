"""Every fault looks to the real SDK as the trouble it stands for, and is billed for what was made."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import anthropic
import httpx2
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def asked(marker: str = "", **extra: Any) -> dict[str, Any]:
    """Return a request of forty words' answer with an inline marker."""
    return {
        "model": "claude-sonnet-5-5",
        "max_tokens": 500,
        "messages": [{"role": "user", "content": f"[[emulator:words:40]] {marker} Go on."}],
        **extra,
    }


def streamed(client: anthropic.Anthropic, marker: str) -> list[Any]:
    """Return the events of a whole stream."""
    return list(client.messages.create(**asked(marker), stream=True))


def text_deltas(stream: Iterable[Any]) -> Iterator[str]:
    """Yield the text of a stream as it arrives."""
    for event in stream:
        if event.type == "content_block_delta" and event.delta.type == "text_delta":
            yield event.delta.text


REFUSALS: list[tuple[str, type[anthropic.APIStatusError], int]] = [
    ("http_400", anthropic.BadRequestError, 400),
    ("http_401", anthropic.AuthenticationError, 401),
    ("http_403", anthropic.PermissionDeniedError, 403),
    ("http_404", anthropic.NotFoundError, 404),
    ("http_413", anthropic.ContentTooLargeError, 413),
    ("http_429", anthropic.RateLimitError, 429),
    ("http_500", anthropic.InternalServerError, 500),
    ("http_529", anthropic.OverloadedError, 529),
    ("html_502", anthropic.InternalServerError, 502),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("kind", "error", "status"), REFUSALS)
def test_a_refusal_raises_its_class_and_bills_nothing(
    client: anthropic.Anthropic, emulator: Any, key: str, kind: str, error: type, status: int, stream: bool
) -> None:
    with pytest.raises(error) as refusal:
        client.messages.create(**asked(f"[[emulator:{kind}]]"), stream=stream)

    assert isinstance(refusal.value, anthropic.APIStatusError)
    assert refusal.value.status_code == status
    assert refusal.value.request_id is not None
    assert emulator.journal(key) == []


def test_a_429_says_when_to_come_again(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.RateLimitError) as refusal:
        client.messages.create(**asked("[[emulator:http_429:7]]"))

    assert refusal.value.response.headers["retry-after"] == "7"


@pytest.mark.parametrize("stream", [False, True])
def test_a_reset_is_a_connection_error_and_bills_nothing(
    client: anthropic.Anthropic, emulator: Any, key: str, stream: bool
) -> None:
    with pytest.raises(anthropic.APIConnectionError) as refusal:
        client.messages.create(**asked("[[emulator:reset]]"), stream=stream)

    assert "reset by peer" in str(refusal.value.__cause__)
    assert emulator.journal(key) == []


@pytest.mark.parametrize(
    ("kind", "error", "outcome"),
    [
        ("drop", httpx2.ReadError, "reset"),
        ("hangup", httpx2.RemoteProtocolError, "reset"),
        ("error_event", anthropic.APIStatusError, "error_event"),
        ("malformed_json", json.JSONDecodeError, "malformed"),
    ],
)
@pytest.mark.parametrize("chunks", [0, 3])
def test_a_stream_that_breaks_bills_what_was_made(
    client: anthropic.Anthropic, emulator: Any, key: str, kind: str, error: type[Exception], outcome: str, chunks: int
) -> None:
    texts: list[str] = []
    stream = client.messages.create(**asked(f"[[emulator:{kind}:{chunks}]]"), stream=True)

    with pytest.raises(error) as raised:
        texts.extend(text_deltas(stream))

    entry = emulator.entry(key)
    assert len(texts) == chunks
    assert entry["outcome"] == outcome
    assert entry["usage"]["output_tokens"] == made(client, emulator, "".join(texts))
    if kind == "error_event":
        assert isinstance(raised.value, anthropic.APIStatusError)
        assert (raised.value.status_code, raised.value.type) == (200, "overloaded_error")


def made(client: anthropic.Anthropic, emulator: Any, text: str) -> int:
    """Return the tokens of a text, as the emulator counts them; a call is never billed less than one."""
    if not text:
        return 1
    empty = client.messages.count_tokens(model="claude-sonnet-5-5", messages=[{"role": "user", "content": "x"}])
    full = client.messages.count_tokens(model="claude-sonnet-5-5", messages=[{"role": "user", "content": text}])
    return full.input_tokens - empty.input_tokens + 1


def test_a_truncated_stream_ends_without_a_stop_and_without_an_error(
    client: anthropic.Anthropic, emulator: Any, key: str
) -> None:
    kinds = [event.type for event in streamed(client, "[[emulator:truncate:2]]")]

    assert kinds == ["message_start", "content_block_start", "content_block_delta", "content_block_delta"]
    assert emulator.entry(key)["outcome"] == "truncated"


@pytest.mark.parametrize("kind", ["malformed_json", "truncate"])
def test_a_broken_whole_answer_is_no_json(client: anthropic.Anthropic, emulator: Any, key: str, kind: str) -> None:
    with pytest.raises(json.JSONDecodeError):
        client.messages.create(**asked(f"[[emulator:{kind}]]"))

    assert emulator.entry(key)["usage"]["output_tokens"] > 40


@pytest.mark.parametrize("kind", ["drop", "hangup"])
def test_a_whole_answer_may_break_off(client: anthropic.Anthropic, emulator: Any, key: str, kind: str) -> None:
    with pytest.raises(anthropic.APIConnectionError):
        client.messages.create(**asked(f"[[emulator:{kind}]]"))

    assert emulator.entry(key)["outcome"] == "reset"


@pytest.mark.parametrize("stream", [False, True])
def test_silence_lasts_until_the_client_leaves(
    client: anthropic.Anthropic, emulator: Any, key: str, stream: bool
) -> None:
    impatient = client.with_options(timeout=httpx2.Timeout(5, read=0.3))

    with pytest.raises((httpx2.ReadTimeout, anthropic.APITimeoutError)):
        list(impatient.messages.create(**asked("[[emulator:silence]]"), stream=stream))

    entry = emulator.entry(key)
    assert entry["outcome"] == "stalled"
    assert entry["usage"]["output_tokens"] == 1


def test_slow_sends_byte_by_byte(client: anthropic.Anthropic, emulator: Any, key: str) -> None:
    began = time.monotonic()

    message = client.messages.create(**asked("[[emulator:slow:0.001]]"))

    assert message.stop_reason == "end_turn"
    assert time.monotonic() - began > 0.3
    assert emulator.entry(key)["outcome"] == "complete"


def test_a_client_that_leaves_a_slow_answer_is_noticed(client: anthropic.Anthropic, emulator: Any, key: str) -> None:
    impatient = client.with_options(timeout=httpx2.Timeout(5, read=0.4))

    with pytest.raises(httpx2.ReadTimeout):
        list(impatient.messages.create(**asked("[[emulator:slow]]"), stream=True))

    assert emulator.entry(key)["outcome"] == "client_gone"


def test_usage_may_be_missing(client: anthropic.Anthropic, emulator: Any, key: str) -> None:
    assert client.messages.create(**asked("[[emulator:usage_missing]]")).usage is None
    delta = streamed(client, "[[emulator:usage_missing:absent]]")[-2]

    assert "usage" not in delta.model_dump(exclude_unset=True)
    assert all(entry["usage"]["output_tokens"] > 40 for entry in emulator.journal(key))


@pytest.mark.parametrize(("shape", "value"), [("negative", -3), ("huge", 10**18), ("strings", "12"), ("mixed", 10**15)])
def test_usage_may_be_absurd_while_the_books_are_right(
    client: anthropic.Anthropic, emulator: Any, key: str, shape: str, value: Any
) -> None:
    message = client.messages.create(**asked(f"[[emulator:usage_absurd:{shape}]]"))

    assert message.usage.output_tokens == value
    assert 40 < emulator.entry(key)["usage"]["output_tokens"] < 100


def test_latency_keeps_the_first_byte_waiting(client: anthropic.Anthropic) -> None:
    began = time.monotonic()

    client.messages.create(**asked("[[emulator:latency:0.3]]"))

    assert 0.3 <= time.monotonic() - began < 2


def test_a_refusal_of_the_model_has_details(client: anthropic.Anthropic) -> None:
    message = client.messages.create(**asked("[[emulator:refusal]]"))

    assert message.stop_reason == "refusal"
    assert message.stop_details is not None


def test_a_registered_fault_strikes_as_often_as_it_was_told(client: anthropic.Anthropic, emulator: Any) -> None:
    emulator.post("faults", kind="http_529", count=2)

    for _ in range(2):
        with pytest.raises(anthropic.OverloadedError):
            client.messages.create(**asked())

    assert client.messages.create(**asked()).stop_reason == "end_turn"
    assert [fault["remaining"] for fault in emulator.get("faults")["faults"]] == [0]


def test_a_fault_strikes_only_its_marker_and_models(client: anthropic.Anthropic, emulator: Any) -> None:
    emulator.post("faults", kind="http_500", marker='héron "x"')
    emulator.post("faults", kind="http_529", models=["claude-opus-5"])

    with pytest.raises(anthropic.InternalServerError, match="500"):
        client.messages.create(**asked('a héron "x" flies'))
    with pytest.raises(anthropic.OverloadedError):
        client.messages.create(**asked(model="claude-opus-5"))
    assert client.messages.create(**asked("a crane flies")).stop_reason == "end_turn"


def test_a_probable_fault_strikes_the_same_requests_for_the_same_seed(
    client: anthropic.Anthropic, emulator: Any
) -> None:
    def run(seed: int) -> list[bool]:
        emulator.delete("faults")
        emulator.post("faults", kind="http_500", probability=0.5, seed=seed)
        return [_fails(client) for _ in range(24)]

    first = run(1)

    assert run(1) == first
    assert run(2) != first
    assert 4 < sum(first) < 20


def _fails(client: anthropic.Anthropic) -> bool:
    try:
        client.messages.create(**asked())
    except anthropic.InternalServerError:
        return True
    return False


def test_a_fault_may_be_put_on_another_endpoint(client: anthropic.Anthropic, emulator: Any) -> None:
    emulator.post("faults", kind="http_529", path="/v1/messages/count_tokens")
    emulator.post("faults", kind="http_403", path="/v1/models")

    with pytest.raises(anthropic.OverloadedError):
        client.messages.count_tokens(model="claude-opus-5", messages=[{"role": "user", "content": "x"}])
    with pytest.raises(anthropic.PermissionDeniedError):
        client.models.list()
    assert client.messages.create(**asked()).stop_reason == "end_turn"


@pytest.mark.parametrize(
    "body", [{}, {"kind": "flood"}, {"kind": "drop", "count": -1}, {"kind": "drop", "x": 1}, {"kind": "drop", "count": "1"}]
)  # fmt: skip
def test_a_fault_that_is_not_understood_is_not_registered(emulator: Any, body: dict[str, Any]) -> None:
    assert emulator.post("faults", **body).status_code == 400
    assert emulator.get("faults") == {"faults": []}


def test_settings_change_the_pace_at_run_time(client: anthropic.Anthropic, emulator: Any) -> None:
    assert emulator.post("settings", latency_ms=200, chunk_words=10).json()["latency_ms"] == 200
    began = time.monotonic()

    deltas = [event for event in streamed(client, "") if event.type == "content_block_delta"]

    assert time.monotonic() - began >= 0.2
    assert len(deltas) == 4
    assert emulator.post("settings", latency_ms="soon").status_code == 400
