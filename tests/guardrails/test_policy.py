"""A policy's guardrails are checked when a version is published, and cost nothing where there are none."""

from typing import Any

import pytest

from kit.errors import InvalidRequest
from skills import catalog, guardrails
from skills.guardrails import plans
from skills.versions import Content

SOUND: dict[str, Any] = {
    "input": {"injection": "flag", "secrets": "redact", "pii": {"action": "redact", "kinds": ["email"], "regions": ["US"]}},
    "output": {"canary": "block", "forbidden": {"action": "flag", "phrases": ["strictly * secret"]}},
}  # fmt: skip


def publishable(**policy: Any) -> Content:
    return Content(
        description="Says things.",
        input_schema={"type": "object", "properties": {"text": {"type": "string"}}},
        model="balanced",
        max_tokens=100,
        max_tokens_ceiling=100,
        template="<text>{{ text }}</text>",
        policy=policy,
    )


def test_a_sound_policy_is_taken() -> None:
    catalog.check(publishable(guardrails=SOUND, max_input_bytes=2_000))


@pytest.mark.parametrize(
    ("wanted", "path"),
    [
        ([], ""),
        ({"sideways": {}}, "/sideways"),
        ({"input": []}, "/input"),
        ({"input": {"canary": "block"}}, "/input/canary"),
        ({"input": {"injection": "redact"}}, "/input/injection"),
        ({"input": {"secrets": "shout"}}, "/input/secrets"),
        ({"input": {"secrets": {"action": []}}}, "/input/secrets"),
        ({"input": {"secrets": {"kinds": []}}}, "/input/secrets"),
        ({"input": {"secrets": {"action": "block", "kinds": []}}}, "/input/secrets/kinds"),
        ({"input": {"pii": {"action": "flag", "kinds": ["names"]}}}, "/input/pii/kinds"),
        ({"input": {"pii": {"action": "flag", "kinds": [{}]}}}, "/input/pii/kinds"),
        ({"input": {"pii": {"action": "flag", "regions": "US"}}}, "/input/pii/regions"),
        ({"output": {"forbidden": "block"}}, "/output/forbidden/phrases"),
        ({"output": {"forbidden": {"action": "block", "phrases": []}}}, "/output/forbidden/phrases"),
        ({"output": {"forbidden": {"action": "block", "phrases": ["a*b*c"]}}}, "/output/forbidden/phrases/0"),
        ({"output": {"forbidden": {"action": "block", "phrases": ["fine", 7]}}}, "/output/forbidden/phrases/1"),
    ],
)
def test_a_faulty_policy_is_refused_with_the_path_of_its_fault(wanted: Any, path: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        catalog.check(publishable(guardrails=wanted))

    assert refused.value.details["path"] == f"policy/guardrails{path}"


@pytest.mark.parametrize("size", [0, -1, True, "9", 10**9])
def test_a_faulty_size_is_refused(size: Any) -> None:
    with pytest.raises(InvalidRequest) as refused:
        catalog.check(publishable(max_input_bytes=size))

    assert refused.value.details["path"] == "policy/max_input_bytes"


def test_a_plan_is_read_once() -> None:
    policy = {"guardrails": SOUND}

    assert plans.of(policy) is plans.of({"guardrails": {**SOUND}})
    assert plans.of({"fallbacks": []}) is None
    assert guardrails.faults is plans.faults
