"""Checks content blocks: their types, their fields, their sources and the pairing of tools with results."""

from __future__ import annotations

from typing import Any

from emulator import media
from emulator.refusals import invalid

Json = dict[str, Any]

_SERVER_RESULTS = (
    "web_search",
    "web_fetch",
    "code_execution",
    "bash_code_execution",
    "text_editor_code_execution",
    "tool_search",
)
_REQUIRED: dict[str, dict[str, type]] = {
    "text": {"text": str},
    "image": {"source": dict},
    "document": {"source": dict},
    "search_result": {"source": str, "title": str, "content": list},
    "thinking": {"thinking": str, "signature": str},
    "redacted_thinking": {"data": str},
    "tool_use": {"id": str, "name": str, "input": dict},
    "tool_result": {"tool_use_id": str},
    "server_tool_use": {"id": str, "name": str, "input": dict},
    "container_upload": {"file_id": str},
    **{f"{name}_tool_result": {"tool_use_id": str} for name in _SERVER_RESULTS},
}
_BY_ROLE = {
    "user": frozenset({"text", "image", "document", "search_result", "tool_result", "container_upload"}),
    "assistant": frozenset(_REQUIRED) - {"image", "document", "search_result", "tool_result", "container_upload"},
    "system": frozenset({"text"}),
}
_IN_RESULT = frozenset({"text", "image", "document", "search_result"})
_IMAGE_TYPES = ("image/jpeg", "image/png", "image/gif", "image/webp")
_SOURCES: dict[str, dict[str, dict[str, type]]] = {
    "image": {
        "base64": {"data": str, "media_type": str},
        "url": {"url": str},
        "file": {"file_id": str},
    },
    "document": {
        "base64": {"data": str, "media_type": str},
        "text": {"data": str, "media_type": str},
        "content": {},
        "url": {"url": str},
        "file": {"file_id": str},
    },
}


def check_content(content: object, *, role: str, at: str) -> None:
    """Refuse a message's content that the API would refuse."""
    if isinstance(content, str):
        return
    if not isinstance(content, list):
        raise invalid(f"{at}.content: Input should be a valid string or list")
    for index, block in enumerate(content):
        check_block(block, allowed=_BY_ROLE[role], at=f"{at}.content.{index}")


def check_block(block: object, *, allowed: frozenset[str], at: str) -> None:
    """Refuse a single block that is unknown, out of place or incomplete."""
    if not isinstance(block, dict):
        raise invalid(f"{at}: Input should be an object")
    kind = block.get("type")
    if not isinstance(kind, str) or kind not in allowed:
        raise invalid(f"{at}.type: Input tag {kind!r} does not match any of the expected tags: {sorted(allowed)}")
    require(block, _REQUIRED[kind], at=f"{at}.{kind}")
    check_cache_control(block.get("cache_control"), at=f"{at}.{kind}")
    if kind == "text" and not block["text"]:
        raise invalid(f"{at}: text content blocks must be non-empty")
    if kind in _SOURCES:
        _check_source(block["source"], kind=kind, at=f"{at}.{kind}.source")
    if kind == "document":
        _check_document(block, at=f"{at}.document")
    if kind in ("tool_result", "search_result"):
        _check_inner(block.get("content"), at=f"{at}.{kind}.content")


def require(record: Json, fields: dict[str, type], *, at: str) -> None:
    """Refuse a record that lacks a field or carries it with another type."""
    for name, kind in fields.items():
        if name not in record:
            raise invalid(f"{at}.{name}: Field required")
        if not isinstance(record[name], kind):
            raise invalid(f"{at}.{name}: Input should be a valid {kind.__name__}")


def check_cache_control(value: object, *, at: str) -> None:
    """Refuse a cache marker of an unknown kind or lifetime."""
    if value is None:
        return
    if not isinstance(value, dict) or value.get("type") != "ephemeral":
        raise invalid(f"{at}.cache_control.type: Input should be 'ephemeral'")
    if value.get("ttl", "5m") not in ("5m", "1h"):
        raise invalid(f"{at}.cache_control.ttl: Input should be '5m' or '1h'")


def _check_inner(content: object, *, at: str) -> None:
    if content is None or isinstance(content, str):
        return
    if not isinstance(content, list):
        raise invalid(f"{at}: Input should be a valid string or list")
    for index, block in enumerate(content):
        check_block(block, allowed=_IN_RESULT, at=f"{at}.{index}")


def _check_source(source: Json, *, kind: str, at: str) -> None:
    form = source.get("type")
    fields = _SOURCES[kind].get(form) if isinstance(form, str) else None
    if fields is None:
        raise invalid(f"{at}.type: Input tag {form!r} does not match any of the expected tags: {list(_SOURCES[kind])}")
    require(source, fields, at=f"{at}.{form}")
    if form == "base64":
        _check_base64(source, kind=kind, at=f"{at}.base64")


def _check_base64(source: Json, *, kind: str, at: str) -> None:
    expected = _IMAGE_TYPES if kind == "image" else ("application/pdf",)
    if source["media_type"] not in expected:
        raise invalid(f"{at}.media_type: Input should be one of {list(expected)}")
    data = media.decode(source["data"])
    if not data:
        raise invalid(f"{at}.data: Invalid base64 data")
    if kind == "document" and not data.startswith(b"%PDF"):
        raise invalid(f"{at}.data: The PDF specified was not valid.")


def _check_document(block: Json, *, at: str) -> None:
    citations = block.get("citations")
    if citations is not None and not (
        isinstance(citations, dict) and isinstance(citations.get("enabled", False), bool)
    ):
        raise invalid(f"{at}.citations: Input should be an object with `enabled`")
    for name in ("title", "context"):
        if not isinstance(block.get(name, ""), str | None):
            raise invalid(f"{at}.{name}: Input should be a valid string")
    if block["source"]["type"] == "content":
        if "content" not in block["source"]:
            raise invalid(f"{at}.source.content: Field required")
        _check_inner(block["source"]["content"] or "", at=f"{at}.source.content")


def check_tool_pairs(messages: list[Json]) -> None:
    """Refuse a tool result without its call just before it, and a call that is not answered just after it."""
    called: list[str] = []
    for index, message in enumerate(messages):
        answered = _ids(message, kind="tool_result", field="tool_use_id")
        for name in answered:
            if name not in called:
                raise invalid(
                    f"messages.{index}: `tool_result` block(s) that provide results for an unexpected `tool_use_id`: "
                    f"{name}. Each `tool_result` block must have a corresponding `tool_use` block in the previous message."
                )
        if missing := [name for name in called if name not in answered]:
            raise invalid(
                f"messages.{index}: `tool_use` ids were found without `tool_result` blocks immediately after: "
                f"{', '.join(missing)}."
            )
        called = _ids(message, kind="tool_use", field="id")


def _ids(message: Json, *, kind: str, field: str) -> list[str]:
    content = message["content"]
    if isinstance(content, str):
        return []
    return [block[field] for block in content if block["type"] == kind]
