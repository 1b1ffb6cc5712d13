"""From a stream's events to the message that the API would have answered without streaming.

Block and delta types that are not known yet are gathered too: texts grow, everything else is replaced.
"""

import json
from typing import Any

from kit.errors import UpstreamFailed

Json = dict[str, Any]

_PLACES = {"text_delta": "text", "thinking_delta": "thinking"}
_EVENT_FIELDS = frozenset(["type", "delta", "usage"])


class Accumulation:
    """The message as far as it has come; `see` takes one event after the other."""

    def __init__(self) -> None:
        self._message: Json | None = None
        self._blocks: dict[int, _Block] = {}

    def see(self, event: Json) -> None:
        """Take in one event. Raises UpstreamFailed for one that fits nowhere."""
        match event.get("type"):
            case "message_start":
                self._message = dict(_object(event, "message"))
            case "content_block_start":
                self._blocks[_index(event)] = _Block(_object(event, "content_block"))
            case "content_block_delta":
                block = self._blocks.get(_index(event))
                if block is None:
                    raise _unreadable()
                block.see(_object(event, "delta"))
            case "message_delta":
                self._end(event)

    def message(self) -> Json:
        """Return the message. Raises UpstreamFailed if it never began."""
        if self._message is None:
            raise _unreadable()
        content = [self._blocks[index].content() for index in sorted(self._blocks)]
        return {**self._message, "content": content}

    def _end(self, event: Json) -> None:
        """Counts in `message_delta` are cumulative; what it leaves out or leaves empty keeps its first value."""
        if self._message is None:
            raise _unreadable()
        self._message |= {name: value for name, value in event.items() if name not in _EVENT_FIELDS}
        self._message |= _known(_object(event, "delta"))
        if isinstance(event.get("usage"), dict):
            first = self._message.get("usage")
            self._message["usage"] = (first if isinstance(first, dict) else {}) | _known(event["usage"])


class _Block:
    """One content block under way; its texts are joined once, at the end."""

    def __init__(self, begun: Json) -> None:
        self._begun = begun
        self._texts: dict[str, list[str]] = {}
        self._input: list[str] = []
        self._citations: list[Any] = []

    def see(self, delta: Json) -> None:
        kind = delta.get("type")
        if kind == "text_delta" and isinstance(text := delta.get("text"), str):
            self._texts.setdefault("text", []).append(text)
        elif kind == "input_json_delta":
            self._input.append(str(delta.get("partial_json", "")))
        elif kind == "citations_delta":
            self._citations.append(delta.get("citation"))
        elif kind == "signature_delta":
            self._begun = {**self._begun, "signature": delta.get("signature")}
        else:
            self._grow(delta, only=_PLACES.get(str(kind)))

    def _grow(self, delta: Json, *, only: str | None) -> None:
        for name, value in delta.items():
            if name == "type" or only not in (None, name):
                continue
            if isinstance(value, str):
                self._texts.setdefault(name, []).append(value)
            else:
                self._begun = {**self._begun, name: value}

    def content(self) -> Json:
        block = dict(self._begun)
        for name, parts in self._texts.items():
            begun = block.get(name)
            block[name] = "".join([begun if isinstance(begun, str) else "", *parts])
        if self._citations:
            block["citations"] = [*(block.get("citations") or ()), *self._citations]
        if given := "".join(self._input):
            block["input"] = _parsed(given, otherwise=block.get("input"))
        return block


def _parsed(text: str, *, otherwise: Any) -> Any:
    """A tool's input that `max_tokens` cut off is no JSON; the API answers with what the block began with then."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return otherwise


def _known(values: Json) -> Json:
    """Leave out what is None, except where None is the answer."""
    return {name: value for name, value in values.items() if value is not None or name.startswith("stop_")}


def _object(event: Json, name: str) -> Json:
    value = event.get(name)
    if not isinstance(value, dict):
        raise _unreadable()
    return value


def _index(event: Json) -> int:
    index = event.get("index")
    if not isinstance(index, int):
        raise _unreadable()
    return index


def _unreadable() -> UpstreamFailed:
    return UpstreamFailed("Claude's answer could not be read. Try again.")
