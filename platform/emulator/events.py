"""Renders an answer on the wire: as one JSON message, or as the frames of an event stream."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from emulator.answers import Answer, Block

if TYPE_CHECKING:
    from collections.abc import Iterator

    from emulator.caching import Consumed

Json = dict[str, Any]
STOP = b'event: message_stop\ndata: {"type": "message_stop"}\n\n'
PING = b'event: ping\ndata: {"type": "ping"}\n\n'


class Chunk(NamedTuple):
    """Some frames of a stream, and the output tokens that they are."""

    frames: bytes
    tokens: int


def frame(data: Json) -> bytes:
    """Return one server-sent event."""
    return f"event: {data['type']}\ndata: {json.dumps(data)}\n\n".encode()


def usage(
    consumed: Consumed, answer: Answer, *, output_tokens: int, inference_geo: str | None, speed: str | None
) -> Json:
    """Return the usage of a message, with every field that the API has."""
    thinking = answer.thinking_tokens if output_tokens == answer.tokens else 0
    return {
        "input_tokens": consumed.input_tokens,
        "cache_creation_input_tokens": consumed.write_5m + consumed.write_1h,
        "cache_read_input_tokens": consumed.read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": consumed.write_5m,
            "ephemeral_1h_input_tokens": consumed.write_1h,
        },
        "output_tokens": output_tokens,
        "output_tokens_details": {"thinking_tokens": thinking} if thinking else None,
        "server_tool_use": None,
        "service_tier": "standard",
        "inference_geo": inference_geo or "global",
        "speed": speed or "standard",
    }


def final_usage(consumed: Consumed, answer: Answer) -> Json:
    """Return the usage of `message_delta`: cumulative, without lifetimes, tier and geography."""
    totals: Json = {
        "input_tokens": consumed.input_tokens,
        "cache_creation_input_tokens": consumed.write_5m + consumed.write_1h,
        "cache_read_input_tokens": consumed.read,
        "output_tokens": answer.tokens,
    }
    if answer.thinking_tokens:
        totals["output_tokens_details"] = {"thinking_tokens": answer.thinking_tokens}
    return totals


def message(answer: Answer, *, message_id: str, model: str) -> Json:
    """Return the whole message, but for its usage."""
    return {
        "id": message_id,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [_content(block) for block in answer.blocks],
        "stop_reason": answer.stop_reason,
        "stop_sequence": answer.stop_sequence,
        "stop_details": answer.stop_details,
        "container": None,
        "diagnostics": None,
    }


def start(*, message_id: str, model: str) -> Json:
    """Return the message as `message_start` shows it, but for its usage."""
    return {**message(Answer(), message_id=message_id, model=model), "stop_reason": None}


def end(answer: Answer) -> Json:
    """Return `message_delta`, but for its usage."""
    delta = {
        "stop_reason": answer.stop_reason,
        "stop_sequence": answer.stop_sequence,
        "stop_details": answer.stop_details,
        "container": None,
    }
    return {"type": "message_delta", "delta": delta}


def chunks(answer: Answer, *, words: int) -> Iterator[Chunk]:
    """Yield the frames of the content blocks, so many words at a time."""
    for index, block in enumerate(answer.blocks):
        head = _start(index, block) + (PING if index == 0 else b"")
        for text, count in _grouped(block.pieces, words=words):
            yield Chunk(head + _delta(index, block, text), count)
            head = b""
        yield Chunk(head + _end(index, block), 0)


def _grouped(pieces: tuple[str, ...], *, words: int) -> Iterator[tuple[str, int]]:
    start = seen = 0
    for at, piece in enumerate(pieces):
        if piece[0].isspace():
            seen += 1
            if seen >= words and at > start:
                yield "".join(pieces[start:at]), at - start
                start, seen = at, 0
    if start < len(pieces):
        yield "".join(pieces[start:]), len(pieces) - start


def _content(block: Block) -> Json:
    if block.kind == "text":
        return {"type": "text", "text": block.text, "citations": block.citations}
    if block.kind == "thinking":
        return {
            "type": "thinking",
            "thinking": block.text if block.is_shown else "",
            "signature": block.signature,
        }
    given = json.loads(block.text) if block.is_whole else {}
    return {**_tool(block), "input": given}


def _tool(block: Block) -> Json:
    return {
        "type": "tool_use",
        "id": block.tool_id,
        "name": block.tool_name,
        "input": {},
        "caller": {"type": "direct"},
    }


def _start(index: int, block: Block) -> bytes:
    if block.kind == "text":
        return _start_text(index, is_cited=bool(block.citations))
    empty: Json = {"type": "thinking", "thinking": "", "signature": ""} if block.kind == "thinking" else _tool(block)
    return frame({"type": "content_block_start", "index": index, "content_block": empty})


@lru_cache(maxsize=64)
def _start_text(index: int, *, is_cited: bool) -> bytes:
    empty: Json = {"type": "text", "text": "", "citations": [] if is_cited else None}
    return frame({"type": "content_block_start", "index": index, "content_block": empty})


_DELTAS = {
    "text": ("text_delta", "text"),
    "thinking": ("thinking_delta", "thinking"),
    "tool_use": ("input_json_delta", "partial_json"),
}


def _delta(index: int, block: Block, text: str) -> bytes:
    if block.kind == "thinking" and not block.is_shown:
        return b""
    if block.kind == "tool_use" and not block.is_whole:
        text = ""
    kind, key = _DELTAS[block.kind]
    # Written out by hand: this is the line a thousand streams spend their time in.
    return (
        'event: content_block_delta\ndata: {"type": "content_block_delta", "index": '
        f'{index}, "delta": {{"type": "{kind}", "{key}": {json.dumps(text)}}}}}\n\n'
    ).encode()


def _end(index: int, block: Block) -> bytes:
    frames = b""
    for citation in block.citations or ():
        delta = {"type": "citations_delta", "citation": citation}
        frames += frame({"type": "content_block_delta", "index": index, "delta": delta})
    if block.kind == "thinking":
        delta = {"type": "signature_delta", "signature": block.signature}
        frames += frame({"type": "content_block_delta", "index": index, "delta": delta})
    return frames + _stop(index)


@lru_cache(maxsize=64)
def _stop(index: int) -> bytes:
    return frame({"type": "content_block_stop", "index": index})
