"""Events are written so that text cannot forge them, and read the same however the bytes are cut."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit import sse
from kit.errors import UpstreamFailed
from kit.sse import Decoder, ServerSentEvent


def read(raw: bytes) -> list[ServerSentEvent]:
    return Decoder().feed(raw)


def test_a_dict_becomes_json_on_one_line() -> None:
    assert sse.encode("text", {"text": "a\nb"}, id="7") == b'id: 7\nevent: text\ndata: {"text":"a\\nb"}\n\n'


def test_a_string_is_sent_as_it_is() -> None:
    assert sse.encode("done", "[DONE]") == b"event: done\ndata: [DONE]\n\n"


def test_a_comment_is_no_event() -> None:
    assert sse.comment("keep-alive") == b": keep-alive\n\n"
    assert read(sse.comment("keep-alive")) == []


@pytest.mark.parametrize("field", ["a\nb", "a\rb", "a\0b"])
def test_a_field_of_one_line_cannot_hold_two(field: str) -> None:
    with pytest.raises(ValueError, match="Line breaks"):
        sse.encode(field, {})
    with pytest.raises(ValueError, match="Line breaks"):
        sse.encode("text", {}, id=field)
    with pytest.raises(ValueError, match="Line breaks"):
        sse.comment(field)


any_text = st.text(st.characters(codec="utf-8") | st.sampled_from("\n\r\u2028\u2029\x85 :"), max_size=40)


@given(any_text)
def test_text_can_never_forge_an_event(text: str) -> None:
    forged = f"{text}\n\nevent: done\ndata: {{}}\n\n"

    raw = sse.encode("text", {"text": forged})

    assert raw.count(b"\n") == 3
    assert len(raw.decode().splitlines()) == 3
    (event,) = read(raw)
    assert event.event == "text"
    assert json.loads(event.data) == {"text": forged}


@given(any_text)
def test_a_string_comes_back_as_one_event(text: str) -> None:
    (event,) = read(sse.encode("note", text))

    assert event == ServerSentEvent("note", text.replace("\r\n", "\n").replace("\r", "\n"))


def test_a_lone_surrogate_does_not_stop_a_stream() -> None:
    assert sse.encode("text", {"text": "a\ud800b"}) == b'event: text\ndata: {"text":"a?b"}\n\n'


@pytest.mark.parametrize(
    ("raw", "events"),
    [
        (b"data: a\n\n", [ServerSentEvent("message", "a")]),
        (b"data:a\r\n\r\n", [ServerSentEvent("message", "a")]),
        (b"data:  a\r\r", [ServerSentEvent("message", " a")]),
        (b"data\n\n", [ServerSentEvent("message", "")]),
        (b"data: a\ndata: b\n\n", [ServerSentEvent("message", "a\nb")]),
        (b"\xef\xbb\xbfdata: a\n\n", [ServerSentEvent("message", "a")]),
        (b"event: x\n\ndata: a\n\n", [ServerSentEvent("message", "a")]),
        (b": note\nevent: x\ndata: a\nunknown: y\n\n", [ServerSentEvent("x", "a")]),
        (
            b"id: 1\ndata: a\n\ndata: b\n\n",
            [ServerSentEvent("message", "a", "1"), ServerSentEvent("message", "b", "1")],
        ),
        (b"id: 1\0\ndata: a\n\n", [ServerSentEvent("message", "a")]),
        (b"retry: 250\ndata: a\n\n", [ServerSentEvent("message", "a", "", 250)]),
        (b"retry: 2x\ndata: a\n\n", [ServerSentEvent("message", "a")]),
        (b"data: unfinished\n", []),
    ],
)
def test_a_stream_is_read_as_the_standard_says(raw: bytes, events: list[ServerSentEvent]) -> None:
    assert read(raw) == events


pieces = st.sampled_from(
    ["data: ", "event: x", "id: 7", "retry: 9", "\r", "\n", "\r\n", "\n\n", ":", " ", "\ufeff", "é", "😀", "\0", "text"]
).map(str.encode) | st.sampled_from([b"\xff", b"\xe2\x82"])
streams = st.lists(pieces, max_size=40).map(b"".join)


@given(streams, st.data())
def test_how_the_bytes_are_cut_makes_no_difference(raw: bytes, data: Any) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(raw)), max_size=12).map(lambda found: [0, *sorted(found), len(raw)]))
    decoder = Decoder()

    cut = [event for start, end in pairwise(cuts) for event in decoder.feed(raw[start:end])]

    assert cut == read(raw)


@given(streams)
def test_byte_by_byte_is_the_same_as_at_once(raw: bytes) -> None:
    decoder = Decoder()

    assert [event for byte in raw for event in decoder.feed(bytes([byte]))] == read(raw)


def test_a_line_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_LINE_BYTES", 1000)
    decoder = Decoder()
    decoder.feed(b"data: " + b"a" * 900)

    with pytest.raises(UpstreamFailed):
        decoder.feed(b"a" * 200)
