"""What images and PDF files cost in tokens, and the text that can be read off a PDF without a library."""

from __future__ import annotations

import base64
import binascii
import re
import struct
import zlib
from functools import lru_cache

from emulator import tokens

IMAGE_TOKENS = 1_600
PAGE_TOKENS = 1_500
_PAGE = re.compile(rb"/Type\s*/Page(?![A-Za-z])")
_STREAM = re.compile(rb"<<(.{0,400}?)>>\s*stream\r?\n(.*?)\s*endstream", re.DOTALL)
_SHOWN = re.compile(rb"\(((?:[^()\\]|\\.)*)\)\s*(?:Tj|'|\")|\[((?:[^\[\]\\]|\\.)*)\]\s*TJ", re.DOTALL)
_PART = re.compile(rb"\(((?:[^()\\]|\\.)*)\)", re.DOTALL)
# A page that inflates to more than this is not text worth citing.
_INFLATED = 4_000_000


def decode(data: str) -> bytes | None:
    """Return the bytes of base64 text, or None when it is not base64."""
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return None


def image_tokens(data: bytes) -> int:
    """Return the price of an image: width by height over 750, at most 1,600."""
    size = _png_size(data) or _jpeg_size(data)
    if size is None:
        return IMAGE_TOKENS
    return max(1, min(IMAGE_TOKENS, size[0] * size[1] // 750))


def _png_size(data: bytes) -> tuple[int, int] | None:
    if len(data) < 24 or not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return None
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    if not data.startswith(b"\xff\xd8"):
        return None
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        at += 2 + max(length, 2)
    return None


@lru_cache(maxsize=64)
def pdf_pages(data: bytes) -> tuple[str, ...]:
    """Return the readable text of each page, empty where there is none; at least one page."""
    pages = max(1, len(_PAGE.findall(data)))
    texts = [text for head, raw in _STREAM.findall(data) if (text := _shown(_inflate(head, raw)))]
    kept = texts[:pages]
    return (*kept, *[""] * (pages - len(kept)))


def pdf_tokens(pages: tuple[str, ...]) -> int:
    """Return the price of a PDF: 1,500 a page, plus its text up to as much again."""
    return sum(PAGE_TOKENS + min(PAGE_TOKENS, tokens.count(text)) for text in pages)


def _inflate(head: bytes, raw: bytes) -> bytes:
    try:
        if b"ASCII85Decode" in head:
            raw = base64.a85decode(raw.strip().removesuffix(b"~>"))
        if b"FlateDecode" in head:
            raw = zlib.decompressobj().decompress(raw, _INFLATED)
    except (ValueError, zlib.error):
        return b""
    return raw


def _shown(content: bytes) -> str:
    if b"BT" not in content:
        return ""
    lines = []
    for single, several in _SHOWN.findall(content):
        parts = _PART.findall(several) if several else [single]
        lines.append(re.sub(rb"\\(.)", rb"\1", b"".join(parts)).decode("latin-1"))
    return re.sub(r"\s+", " ", " ".join(lines)).strip()
