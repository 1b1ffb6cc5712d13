"""Reads a valid request once: its price in tokens, its cacheable segments, its texts, documents and tools."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from emulator import media, tokens

Json = dict[str, Any]

REQUEST_TOKENS = 8
MESSAGE_TOKENS = 3
BLOCK_TOKENS = 2
TOOL_TOKENS = 8


class Segment(NamedTuple):
    """A stretch of the prompt: its price, what identifies it, and the lifetime of a cache mark at its end."""

    tokens: int
    identity: str
    ttl: str | None


class Document(NamedTuple):
    """A document block: parts are one text, the blocks of custom content, or the pages of a PDF."""

    position: int
    title: str | None
    form: str
    parts: tuple[str, ...]
    is_citable: bool


@dataclass(slots=True)
class Prompt:
    """What a request says, and what it costs."""

    body: Json
    segments: list[Segment] = field(default_factory=list)
    documents: list[Document] = field(default_factory=list)
    system: str = ""
    asked: str = ""
    results: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """The prompt's tokens, cached or not."""
        return REQUEST_TOKENS + sum(segment.tokens for segment in self.segments)

    @property
    def schema(self) -> Json | None:
        """The schema that the answer must fit, if one is asked for."""
        form = (self.body.get("output_config") or {}).get("format")
        return form["schema"] if form else None


def read(body: Json) -> Prompt:
    """Return the prompt of a request that validation let through."""
    prompt = Prompt(body)
    if prompt.schema is not None:
        _add(prompt, tokens.count(compact(prompt.schema)), compact(prompt.schema), None)
    for tool in body.get("tools") or ():
        _read_tool(prompt, tool)
    if body.get("system"):
        prompt.system = _read_content(prompt, body["system"], overhead=0)
    for position, message in enumerate(body["messages"]):
        _read_message(prompt, message, is_last=position == len(body["messages"]) - 1)
    if body.get("cache_control") and prompt.segments:
        prompt.segments[-1] = prompt.segments[-1]._replace(ttl=_ttl(body))
    return prompt


def compact(value: object) -> str:
    """Return JSON without spaces, as it is counted."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _ttl(record: Json) -> str | None:
    control = record.get("cache_control")
    return control.get("ttl", "5m") if control else None


def _add(prompt: Prompt, price: int, identity: str, ttl: str | None) -> None:
    prompt.segments.append(Segment(price, identity, ttl))


def _read_tool(prompt: Prompt, tool: Json) -> None:
    schema = compact(tool["input_schema"]) if "input_schema" in tool else ""
    text = (tool["name"], tool.get("description") or "", schema)
    _add(prompt, TOOL_TOKENS + sum(map(tokens.count, text)), "\0".join(text), _ttl(tool))


def _read_message(prompt: Prompt, message: Json, *, is_last: bool) -> None:
    role = message["role"]
    text = _read_content(prompt, message["content"], overhead=MESSAGE_TOKENS, role=role)
    if role == "user":
        prompt.asked = text
        prompt.results = _results(message["content"]) if is_last else []
    elif role == "system":
        prompt.system = f"{prompt.system}\n{text}".strip()


def _results(content: str | list[Json]) -> list[str]:
    if isinstance(content, str):
        return []
    return [inner_text(block.get("content")) for block in content if block["type"] == "tool_result"]


def _read_content(prompt: Prompt, content: str | list[Json], *, overhead: int, role: str = "") -> str:
    if isinstance(content, str):
        _add(prompt, overhead + tokens.count(content), role + content, None)
        return content
    texts = []
    for block in content:
        price, identity = _price(prompt, block)
        _add(prompt, overhead + BLOCK_TOKENS + price, role + identity, _ttl(block))
        overhead = 0
        if block["type"] == "text":
            texts.append(block["text"])
    return "\n\n".join(texts)


def _price(prompt: Prompt, block: Json) -> tuple[int, str]:
    kind = block["type"]
    if kind == "text":
        return tokens.count(block["text"]), block["text"]
    if kind == "image":
        return _price_image(block["source"]), compact(block["source"])
    if kind == "document":
        return _price_document(prompt, block), compact(block["source"]) + str(block.get("title"))
    if kind == "tool_result":
        return _price_result(prompt, block), compact(block.get("content"))
    text = _plain(block)
    return tokens.count(text), text


def _plain(block: Json) -> str:
    kind = block["type"]
    if kind in ("tool_use", "server_tool_use"):
        return str(block["name"]) + compact(block["input"])
    if kind == "search_result":
        return f"{block['title']} {block['source']} {inner_text(block['content'])}"
    if kind == "thinking":
        return str(block["thinking"])
    return inner_text(block.get("content"))


def _price_image(source: Json) -> int:
    data = media.decode(source["data"]) if source["type"] == "base64" else None
    return media.image_tokens(data) if data else media.IMAGE_TOKENS


def _price_result(prompt: Prompt, block: Json) -> int:
    content = block.get("content") or ""
    if isinstance(content, str):
        return tokens.count(content)
    return sum(BLOCK_TOKENS + _price(prompt, inner)[0] for inner in content)


def _price_document(prompt: Prompt, block: Json) -> int:
    source = block["source"]
    form, parts = _parts(source)
    citable = bool((block.get("citations") or {}).get("enabled"))
    title = block.get("title")
    prompt.documents.append(Document(len(prompt.documents), title, form, parts, citable))
    words = tokens.count(title or "") + tokens.count(block.get("context") or "")
    if form == "pdf":
        return words + media.pdf_tokens(parts)
    images = source.get("content") if form == "content" else None
    return words + sum(map(tokens.count, parts)) + _images(images)


def _images(content: object) -> int:
    if not isinstance(content, list):
        return 0
    return sum(_price_image(block["source"]) for block in content if block["type"] == "image")


def _parts(source: Json) -> tuple[str, tuple[str, ...]]:
    kind = source["type"]
    if kind == "text":
        return "text", (source["data"],)
    if kind == "content":
        content = source["content"] or ""
        whole = [content] if isinstance(content, str) else [inner_text([block]) for block in content]
        return "content", tuple(whole)
    data = media.decode(source["data"]) if kind == "base64" else None
    return "pdf", media.pdf_pages(data) if data else ("",)


def inner_text(content: object) -> str:
    """Return the text inside a tool result, a search result or custom content."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "\n".join(str(block["text"]) for block in content if isinstance(block, dict) and block.get("type") == "text")
