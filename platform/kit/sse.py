"""Server-sent events, written so that no text can forge one and read as the standard says.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import codecs
import json
import re
from typing import Any, NamedTuple

import orjson

from kit.errors import UpstreamFailed

MAX_LINE_BYTES = 16 * 1024 * 1024
_BOM = codecs.BOM_UTF8.decode()
_PLAIN = re.compile(r"event: ([^\n]+)\ndata: ([^\n]*)\n\n")  # how nearly all events are written
_ALL_PLAIN = re.compile(f"(?:{_PLAIN.pattern})+")
_SEPARATORS = [("\u2028".encode(), rb"\u2028"), ("\u2029".encode(), rb"\u2029"), ("\x85".encode(), rb"\u0085")]
_made = tuple.__new__  # of events, which come by the dozen: what calling their class does, without a call
_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


class ServerSentEvent(NamedTuple):
    """One event as it came; `id` is the last one seen, as for a browser's `lastEventId`."""

    event: str
    data: str
    id: str = ""
    retry: int | None = None


# --- Writing ---------------------------------------------------------------------------------------------------------


def encode(event: str, data: dict[str, Any] | str, *, id: str | None = None) -> bytes:  # noqa: A002 - the field's name
    """Write one event; a dict becomes JSON on one line, a string one `data:` line for each of its.

    Raises ValueError for an event name or id that is not one line.
    """
    head = f"event: {_one_line(event)}\n"
    if id is not None:
        head = f"id: {_one_line(id)}\n{head}"
    if not isinstance(data, str):
        return b"%bdata: %b\n\n" % (head.encode("utf-8", "replace"), _json(data))
    body = data.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\ndata: ")
    return f"{head}data: {body}\n\n".encode("utf-8", "replace")


def comment(text: str = "") -> bytes:
    """Write a comment, which keeps a connection alive and is no event."""
    return f": {_one_line(text)}\n\n".encode("utf-8", "replace")


def _json(data: dict[str, Any]) -> bytes:
    """Write JSON in which nothing looks like a line's end, to whatever reads it."""
    try:
        body = orjson.dumps(data)
    except TypeError:  # an odd text or number
        body = _JSON.encode(data).encode("utf-8", "replace")
    for separator, escaped in _SEPARATORS:
        body = body.replace(separator, escaped)
    return body


def _one_line(text: str) -> str:
    if "\n" in text or "\r" in text or "\0" in text:
        message = "Line breaks and NUL cannot be part of this field."
        raise ValueError(message)
    return text


# --- Reading ---------------------------------------------------------------------------------------------------------


class Decoder:
    """Reads a stream that arrives in any pieces; how it was cut makes no difference to what comes out."""

    __slots__ = ("_after_cr", "_buffer", "_data", "_event", "_id", "_is_begun", "_retry")

    def __init__(self) -> None:
        self._buffer = bytearray()  # a line that has begun
        self._after_cr = False  # a line feed at the start of the next chunk belongs to the line break before it
        self._is_begun = False
        self._event = ""
        self._data: list[str] = []
        self._id = ""
        self._retry: int | None = None

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Return the events that this chunk completes.

        Raises UpstreamFailed if a line grows beyond `MAX_LINE_BYTES`.
        """
        if self._after_cr and chunk:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        end = max(chunk.rfind(b"\n"), chunk.rfind(b"\r")) + 1
        if not end:
            self._keep(chunk)
            return []
        whole = bytes(self._buffer) + chunk[:end] if self._buffer else chunk[:end]
        self._buffer.clear()
        if end < len(chunk):
            self._keep(chunk[end:])
        self._after_cr = whole.endswith(b"\r")
        return self._read(whole)

    def _keep(self, rest: bytes) -> None:
        self._buffer += rest
        if len(self._buffer) > MAX_LINE_BYTES:
            message = "The stream sent a line that is too long."
            raise UpstreamFailed(message)

    def _read(self, whole: bytes) -> list[ServerSentEvent]:
        text = whole.decode("utf-8", "replace")
        if not self._is_begun:
            self._is_begun = True
            text = text.removeprefix(_BOM)
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        events: list[ServerSentEvent] = []
        if self._event or self._data or self._retry is not None:  # an event has begun
            begun, blank, text = text.partition("\n\n")
            self._lines(begun + blank, events)
        if plain := _ALL_PLAIN.match(text):
            end = plain.end()
            named = _PLAIN.findall(text, 0, end)
            events += [_made(ServerSentEvent, (event, data, self._id, None)) for event, data in named]
            text = text[end:]
        if text:
            self._lines(text, events)
        return events

    def _lines(self, text: str, events: list[ServerSentEvent]) -> None:
        for line in text.split("\n")[:-1]:  # without what follows the last line break, which is nothing
            if line:
                self._field(line)
            else:
                self._dispatch(events)

    def _dispatch(self, events: list[ServerSentEvent]) -> None:
        if self._data:
            data = self._data[0] if len(self._data) == 1 else "\n".join(self._data)
            events.append(ServerSentEvent(self._event or "message", data, self._id, self._retry))
        self._event, self._data, self._retry = "", [], None

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self._retry = int(value[:9])
