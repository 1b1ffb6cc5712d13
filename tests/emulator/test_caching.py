"""Marked prefixes are written once and read afterwards, per key, model and lifetime."""

from __future__ import annotations

from typing import Any

import anthropic
import pytest

from emulator.caching import PromptCache
from emulator.prompts import Prompt, Segment

LONG = "The rules of the house are many and each of them has a reason. " * 120


def block(text: str, ttl: str | None = None) -> dict[str, Any]:
    """Return a text block, marked if it has a lifetime."""
    marked = {"cache_control": {"type": "ephemeral", "ttl": ttl}} if ttl else {}
    return {"type": "text", "text": text, **marked}


def spent(client: anthropic.Anthropic, *, system: Any, user: Any = "Hi", model: str = "claude-haiku-4-5") -> Any:
    """Return the usage of a small call as (input, written 5 m, written 1 h, read)."""
    usage = client.messages.create(
        model=model, max_tokens=10, system=system, messages=[{"role": "user", "content": user}]
    ).usage
    assert usage.cache_creation is not None
    written = usage.cache_creation
    assert usage.cache_creation_input_tokens == written.ephemeral_5m_input_tokens + written.ephemeral_1h_input_tokens
    return usage.input_tokens, written.ephemeral_5m_input_tokens, written.ephemeral_1h_input_tokens, usage.cache_read_input_tokens  # fmt: skip


@pytest.mark.parametrize("ttl", ["5m", "1h"])
def test_a_prefix_is_written_in_its_class_and_then_read(client: anthropic.Anthropic, ttl: str) -> None:
    plain, *_ = spent(client, system=[block(LONG)])

    rest, five, hour, read = spent(client, system=[block(LONG, ttl)])
    again = spent(client, system=[block(LONG, ttl)])

    assert (five if ttl == "5m" else hour) > 1024
    assert (hour if ttl == "5m" else five) == read == 0
    assert rest + five + hour == plain
    assert again == (rest, 0, 0, five + hour)


def test_only_what_is_new_is_written(client: anthropic.Anthropic) -> None:
    _, _, first, _ = spent(client, system=[block(LONG, "1h")])

    rest, five, hour, read = spent(client, system=[block(LONG, "1h")], user=[block("More. " * 300, "5m")])

    assert read == first
    assert hour == 0
    assert five > 300
    assert rest < 20


def test_a_short_prefix_is_not_cached(client: anthropic.Anthropic) -> None:
    assert spent(client, system=[block("Short.", "5m")])[1:] == (0, 0, 0)
    assert spent(client, system=[block("Short.", "5m")])[1:] == (0, 0, 0)


def test_another_key_model_or_prefix_reads_nothing(client: anthropic.Anthropic) -> None:
    spent(client, system=[block(LONG, "5m")])

    other = client.with_options(api_key="another-key-of-the-caching-test")

    assert spent(other, system=[block(LONG, "5m")])[3] == 0
    assert spent(client, system=[block(LONG, "5m")], model="claude-opus-5")[3] == 0
    assert spent(client, system=[block("Not " + LONG, "5m")])[3] == 0


def test_tools_and_the_top_level_mark_are_cached_too(client: anthropic.Anthropic) -> None:
    tool: Any = {"name": "look", "description": LONG, "input_schema": {"type": "object"}}
    asked: dict[str, Any] = {"model": "claude-opus-5", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
    marked: Any = {**tool, "cache_control": {"type": "ephemeral"}}

    written = client.messages.create(**asked, tools=[marked]).usage.cache_creation_input_tokens
    read = client.messages.create(**asked, tools=[tool], cache_control={"type": "ephemeral"}).usage

    assert written is not None
    assert written > 1024
    assert read.cache_read_input_tokens == written
    assert read.cache_creation_input_tokens == 4


@pytest.mark.parametrize("system", [[block("a", "5m")] * 5, [block("a", "5m"), block("b", "1h")], [block("a", "2h")]])
def test_marks_that_the_api_refuses_are_refused(client: anthropic.Anthropic, system: Any) -> None:
    with pytest.raises(anthropic.BadRequestError, match="cache_control"):
        spent(client, system=system)


@pytest.mark.parametrize(("ttl", "seconds"), [("5m", 300), ("1h", 3600)])
def test_an_entry_ends_with_its_lifetime_unless_it_is_read(ttl: str, seconds: int) -> None:
    cache = PromptCache()
    prompt = Prompt({}, segments=[Segment(2000, "prefix", ttl)])

    reads = [cache.consume(prompt, scope="s", now=now).read for now in (0, seconds - 1, 2 * seconds - 2, 3 * seconds)]

    assert reads == [0, 2000, 2000, 0]
