"""Token counts stay plausible and within the bound that budgets rely on."""

from __future__ import annotations

import base64
import json
import struct
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator import media, prompts, tokens

if TYPE_CHECKING:
    from collections.abc import Callable

PROSE = (
    "The platform admits a call only when its budget has room for it. What was reserved and not used is given back as "
    "soon as the answer has ended, and nothing is ever counted twice, however many processes take part in it."
)


@given(st.text(max_size=400))
def test_tokens_never_exceed_the_bytes_and_join_to_the_text(text: str) -> None:
    assert tokens.count(text) <= len(text.encode("utf-8", "surrogatepass"))
    assert "".join(tokens.split(text)) == text
    assert len(tokens.split(text)) == tokens.count(text)


def test_prose_takes_about_four_characters_a_token() -> None:
    assert 3.4 < len(PROSE) / tokens.count(PROSE) < 4.6


TEXTS = st.text(min_size=1, max_size=60)
TOOLS = st.builds(
    lambda name, text: {
        "name": name,
        "description": text,
        "input_schema": {"type": "object", "properties": {name: {"type": "string", "description": text}}},
    },
    st.from_regex(r"[a-z]{1,12}", fullmatch=True),
    TEXTS,
)


@settings(deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=5), st.lists(TOOLS, max_size=3), TEXTS)
def test_a_prompt_stays_within_its_bytes_and_the_fixed_overhead(
    texts: list[str], tools: list[dict[str, Any]], system: str
) -> None:
    content = [{"type": "text", "text": text} for text in texts]
    body = {"system": system, "tools": tools, "messages": [{"role": "user", "content": content}]}

    total = prompts.read(body).total

    written = "".join(texts) + system + json.dumps(tools, separators=(",", ":"), ensure_ascii=False)
    assert total <= len(written.encode("utf-8", "surrogatepass")) + 64 + 16 * (1 + len(content) + len(tools))


def png(width: int, height: int) -> bytes:
    """Return the head of a PNG file of a size."""
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", width, height) + b"\x08\x02\0\0\0"


def jpeg(width: int, height: int) -> bytes:
    """Return the head of a JPEG file of a size: an application segment, then a progressive frame."""
    frame = b"\xff\xc2\0\x11\x08" + struct.pack(">HH", height, width) + b"\x03"
    return b"\xff\xd8\xff\xe0\0\x10JFIF" + b"\0" * 10 + frame


@pytest.mark.parametrize("form", [png, jpeg])
@pytest.mark.parametrize(("size", "expected"), [((300, 250), 100), ((4000, 4000), 1600), ((1, 1), 1)])
def test_an_image_costs_its_area(form: Callable[..., bytes], size: tuple[int, int], expected: int) -> None:
    assert media.image_tokens(form(*size)) == expected


def test_an_image_of_unknown_size_costs_the_most() -> None:
    assert media.image_tokens(b"GIF89a...") == 1600


def test_a_pdf_costs_by_the_page_and_its_text_can_be_read(make_pdf: Callable[..., bytes]) -> None:
    pages = media.pdf_pages(make_pdf("The first page.", "The second page is about cats."))

    assert pages == ("The first page.", "The second page is about cats.")
    assert 3000 < media.pdf_tokens(pages) <= 6000


def test_text_that_is_not_base64_has_no_bytes() -> None:
    assert media.decode("not base64!") is None
    assert media.decode(base64.b64encode(b"yes").decode()) == b"yes"
