"""Prompt caching: which prefixes a policy marks, and what is said to have been saved."""

from datetime import date
from typing import Any
from uuid import uuid4

from skills import requests
from skills.versions import Version
from tests.caching.asking import publish
from tests.live import Live
from usage.pricing import Band, Book, Tokens

EPHEMERAL = {"type": "ephemeral"}
FOR_AN_HOUR = {"type": "ephemeral", "ttl": "1h"}
DOCUMENTS = {
    "type": "array",
    "items": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
}


def version(policy: dict[str, Any], **changes: Any) -> Version:
    given = {
        "description": "Says things.",
        "input_schema": {
            "type": "object",
            "properties": {"text": {"type": "string"}, "documents": DOCUMENTS},
            "required": ["text"],
        },
        "model": "balanced",
        "max_tokens": 100,
        "max_tokens_ceiling": 100,
        "system": "Be brief.",
        "template": "The rules, at length.\n<text>\n{{ text }}\n</text>",
        "documents_from": "documents",
        "policy": policy,
        **changes,
    }
    return Version(id=1, skill_id=1, skill="say", tenant_id=None, number=1, stored_digest="", **given)


def content(policy: dict[str, Any], given: dict[str, Any], **changes: Any) -> list[dict[str, Any]]:
    built: list[dict[str, Any]] = requests.build(version(policy, **changes), given)["messages"][0]["content"]
    return built


def test_nothing_is_marked_without_the_policy() -> None:
    blocks = content({}, {"text": "Hello", "documents": [{"text": "A"}]})

    assert [block["type"] for block in blocks] == ["document", "text"]
    assert not any("cache_control" in block for block in blocks)


def test_the_last_document_ends_the_prefix_of_documents() -> None:
    policy = {"prompt_cache": {"prefixes": ["documents"]}}

    blocks = content(policy, {"text": "Hello", "documents": [{"text": "A"}, {"text": "B"}]})

    assert [block.get("cache_control") for block in blocks] == [None, EPHEMERAL, None]
    assert len(content(policy, {"text": "Hello"})) == 1


def test_the_words_before_the_first_value_are_a_prefix_and_the_message_stays_the_same() -> None:
    plain = content({}, {"text": "Hello"})
    split = content({"prompt_cache": {"prefixes": ["template"]}}, {"text": "Hello"})

    assert [block.get("cache_control") for block in split] == [EPHEMERAL, None]
    assert split[0]["text"] == "The rules, at length.\n"
    assert "".join(block["text"] for block in split) == plain[0]["text"]


def test_a_template_that_begins_with_a_value_has_no_prefix() -> None:
    blocks = content({"prompt_cache": {"prefixes": ["template"]}}, {"text": "Hello"}, template="{{ text }} Thanks.")

    assert len(blocks) == 1
    assert "cache_control" not in blocks[0]


def test_all_prefixes_of_a_request_live_equally_long() -> None:
    policy = {"prompt_cache": {"prefixes": ["documents", "template"], "lifetime": "1h"}}

    built = requests.build(version(policy, cache_system=True), {"text": "Hello", "documents": [{"text": "A"}]})

    marked = [*built["system"], *built["messages"][0]["content"]]
    marks = [block["cache_control"] for block in marked if "cache_control" in block]
    assert marks == [FOR_AN_HOUR] * 3


def test_the_usage_says_what_was_saved_and_what_the_first_write_cost(live: Live) -> None:
    rules = f"The rules {uuid4().hex}. " + "Keep to the point and name your sources. " * 200
    policy = {"prompt_cache": {"prefixes": ["template"]}}
    publish(live, policy=policy, name="ruled", template=rules + "\n{{ text }}")

    first, second = (
        live.post("/v1/skills/ruled", {"input": {"text": text}}).json()["usage"] for text in ("Hello.", "Goodbye.")
    )

    written, read = first["cache_creation_input_tokens"], second["cache_read_input_tokens"]
    assert written == read > 1_024
    assert first["prompt_cache_saved_micros"] < 0 < second["prompt_cache_saved_micros"]
    # Sonnet: 2 dollars a million plain, 2.50 written, 0.20 read.
    assert abs(first["prompt_cache_saved_micros"] + written * 0.5) <= 1
    assert abs(second["prompt_cache_saved_micros"] - read * 1.8) <= 1


def test_nothing_is_saved_where_nothing_was_cached() -> None:
    today = date(2026, 1, 1)
    micros = {"input": 100, "output": 100, "cache_write_5m": 125, "cache_write_1h": 200, "cache_read": 10}
    book = Book(version=1, bands={"m": (Band(effective_from=today, prompt_from=0, micros=micros),)})

    assert book.saved("m", Tokens(input=1_000_000, output=5), on=today) == 0
    assert book.saved("m", Tokens(cache_write_1h=1_000_000), on=today) == -100
    assert book.saved("m", Tokens(input=7, cache_read=1_000_000), on=today) == 90
