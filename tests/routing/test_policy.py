"""What an author may write about routing, caching and prompt caching, and what publication refuses."""

from typing import Any

import pytest

from kit.errors import InvalidRequest
from skills.catalog.checks import check
from skills.versions import Content


def content(policy: dict[str, Any]) -> Content:
    return Content(
        description="Says things.",
        input_schema={"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
        model="balanced",
        max_tokens=64,
        max_tokens_ceiling=64,
        template="{{ text }}",
        policy=policy,
    )


@pytest.mark.parametrize(
    "policy",
    [
        {"routing": {}},
        {"routing": {"kind": "fixed"}},
        {"routing": {"kind": "by_size", "sizes": [{"up_to": 500, "model": "fast"}, {"up_to": 9_000, "model": "deep"}]}},
        {"routing": {"kind": "by_classifier"}},
        {"routing": {"kind": "by_classifier", "models": {"complex": "balanced", "bulk": "fast"}}},
        {"routing": {"kind": "by_budget", "budgets": [{"below_percent": 20, "model": "fast"}]}},
        {"cache": {"ttl_seconds": 60}},
        {"prompt_cache": {"prefixes": ["documents", "template"], "lifetime": "1h"}},
        {"routing": {"kind": "fixed"}, "cache": {"ttl_seconds": 604_800}, "prompt_cache": {"prefixes": ["template"]}},
    ],
)
def test_sound_policies_are_published(policy: dict[str, Any]) -> None:
    check(content(policy))


@pytest.mark.parametrize(
    ("policy", "path"),
    [
        ({"routing": "fast"}, "policy/routing"),
        ({"routing": {"kind": "by_mood"}}, "policy/routing/kind"),
        ({"routing": {"kind": ["fixed"]}}, "policy/routing/kind"),
        ({"routing": {"kind": "fixed", "sizes": []}}, "policy/routing"),
        ({"routing": {"kind": "by_size"}}, "policy/routing/sizes"),
        ({"routing": {"kind": "by_size", "sizes": []}}, "policy/routing/sizes"),
        ({"routing": {"kind": "by_size", "sizes": [{"up_to": 0, "model": "fast"}]}}, "policy/routing/sizes/0/up_to"),
        ({"routing": {"kind": "by_size", "sizes": [{"up_to": True, "model": "fast"}]}}, "policy/routing/sizes/0/up_to"),
        ({"routing": {"kind": "by_size", "sizes": [{"up_to": 9}]}}, "policy/routing/sizes/0"),
        (
            {"routing": {"kind": "by_size", "sizes": [{"up_to": 9, "model": "fast"}, {"up_to": 9, "model": "deep"}]}},
            "policy/routing/sizes/1/up_to",
        ),
        (
            {"routing": {"kind": "by_size", "sizes": [{"up_to": 9, "model": "claude-haiku-4-5"}]}},
            "policy/routing/sizes/0/model",
        ),
        ({"routing": {"kind": "by_classifier", "models": {"easy": "fast"}}}, "policy/routing/models"),
        ({"routing": {"kind": "by_classifier", "models": {"simple": "gpt"}}}, "policy/routing/models/simple"),
        (
            {"routing": {"kind": "by_budget", "budgets": [{"below_percent": 101, "model": "fast"}]}},
            "policy/routing/budgets/0/below_percent",
        ),
        ({"cache": {}}, "policy/cache"),
        ({"cache": {"ttl_seconds": 0}}, "policy/cache/ttl_seconds"),
        ({"cache": {"ttl_seconds": 604_801}}, "policy/cache/ttl_seconds"),
        ({"cache": {"ttl_seconds": 60, "shared": True}}, "policy/cache"),
        ({"prompt_cache": {"prefixes": []}}, "policy/prompt_cache/prefixes"),
        ({"prompt_cache": {"prefixes": ["tools"]}}, "policy/prompt_cache/prefixes"),
        ({"prompt_cache": {"prefixes": ["template"], "lifetime": "1d"}}, "policy/prompt_cache/lifetime"),
        ({"kind": "analysis", "cache": {"ttl_seconds": 60}}, "policy"),
    ],
)
def test_unsound_policies_are_refused_with_the_path_of_the_fault(policy: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        check(content(policy))

    assert refused.value.details["path"] == path
