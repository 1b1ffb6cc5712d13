"""Another model, or the skill's fixed answer, stands in when Claude is unwell: flagged, booked, and only where allowed."""

from dataclasses import replace
from typing import Any

import pytest
from pytest_django import Settings

from kit.errors import InvalidRequest, Unavailable, UpstreamOverloaded
from skills import catalog
from skills.api import rendering
from skills.api.frames import Encoder
from skills.catalog.checks import check
from skills.claude import breakers
from skills.claude.provider import PLATFORM
from skills.events import RunText
from skills.runs import Run
from skills.versions import CONTENT_FIELDS, Content
from tests.resilience.bench import Bench, assert_books_agree, events, marker, strike

OWN, OTHER, THIRD = "claude-sonnet-5", "claude-opus-5", "claude-haiku-4-5"
CHAIN = {"fallbacks": [OTHER, "fast"]}


@pytest.fixture
def mark(bench: Bench, settings: Settings) -> str:
    """A mark at which the skill's own model fails."""
    settings.CLAUDE_ATTEMPTS = 2
    marked = marker()
    strike("http_529", marked, models=[OWN])
    return marked


async def test_the_next_model_answers_and_it_is_told(bench: Bench, mark: str) -> None:
    done = await bench.ask(f"Hello {mark}", policy=CHAIN)

    version = await catalog.resolve(bench.caller.tenant_id, "complete", sticky="1")
    shown = rendering.completed(done, version=version, model=OWN)
    flag = {"from": OWN, "reason": "overloaded_error", "is_fixed_answer": False}
    assert (shown["model"], shown["fallback"]) == (OTHER, flag)
    [told] = [
        one for one in Encoder("run_1", request_id="req_1", is_resumable=False)(done) if b"event: usage" in one.content
    ]
    assert b'"fallback": {"from": "claude-sonnet-5"' in told.content.replace(b'":{', b'": {').replace(b'":"', b'": "')
    assert [(event["model"], event["state"], event["route"]) for event in await events()] == [
        (OWN, "released", ""),
        (OWN, "released", ""),
        (OTHER, "settled", f"fallback from {OWN}: overloaded_error"),
    ]
    await assert_books_agree()


async def test_the_chain_is_gone_through_in_order(bench: Bench, mark: str) -> None:
    strike("http_500", mark, models=[OTHER])

    done = await bench.ask(f"Hello {mark}", policy=CHAIN)

    assert (done.model, done.fallback and done.fallback.from_model) == (THIRD, OWN)
    assert [event["model"] for event in await events()] == [OWN, OWN, OTHER, OTHER, THIRD]


async def test_a_tenant_that_forbids_it_never_gets_another_model(bench: Bench, mark: str) -> None:
    policy = {**CHAIN, "fallback_answer": "Come back later."}

    error = await bench.refusal(f"Hello {mark}", policy=policy, allows_fallback=False)

    assert isinstance(error, UpstreamOverloaded)
    assert {event["model"] for event in await events()} == {OWN}


@pytest.mark.parametrize("of", ["allowed_models", "tenant_models"])
async def test_only_allowed_models_stand_in(bench: Bench, mark: str, of: str) -> None:
    done = await bench.ask(f"Hello {mark}", policy=CHAIN, **{of: frozenset({OWN, THIRD})})

    assert done.model == THIRD
    assert OTHER not in {event["model"] for event in await events()}


async def test_a_fault_of_the_request_is_not_fallen_back_from(bench: Bench) -> None:
    marked = marker()
    strike("http_400", marked, models=[OWN])

    error = await bench.refusal(f"Hello {marked}", policy=CHAIN)

    assert error.status == 400
    assert len(await events()) == 1


async def test_calls_that_are_held_back_begin_with_the_next_model(bench: Bench) -> None:
    breakers.breaker(PLATFORM, OWN).open(30)

    done = await bench.ask("Hello", policy=CHAIN)

    assert (done.model, done.usage.attempts) == (OTHER, 1)
    assert done.fallback is not None
    assert done.fallback.reason == "breaker_open"
    (event,) = await events()
    assert event["route"] == f"fallback from {OWN}: breaker_open"


async def test_the_fixed_answer_is_given_when_no_model_answers(bench: Bench, mark: str) -> None:
    strike("http_529", mark)
    run = await bench.start(f"Hello {mark}", policy={**CHAIN, "fallback_answer": "Come back later."})

    said = [event async for event in run.events()]

    done = said[-1]
    assert [one.text for one in said if isinstance(one, RunText)] == ["Come back later."]
    assert (_shown(run, done)["output"], _shown(run, done)["stop_reason"]) == ("Come back later.", "fallback")
    assert _shown(run, done)["fallback"]["is_fixed_answer"] is True
    assert {event["state"] for event in await events()} == {"released"}


async def test_the_fixed_answer_needs_no_call_while_calls_are_held_back(bench: Bench) -> None:
    breakers.breaker(PLATFORM, OWN).open(30)

    done = await bench.ask("Hello", policy={"fallback_answer": "Come back later."})

    assert done.output == "Come back later."
    (event,) = await events()
    assert (event["purpose"], event["state"], event["charged_tokens"], event["cost_micros"]) == (
        "cached",
        "settled",
        0,
        0,
    )
    assert event["route"] == f"fallback from {OWN}: breaker_open"
    with pytest.raises(Unavailable):
        await bench.ask("Hello", policy={"fallback_answer": "Come back later."}, allows_fallback=False)


async def test_a_model_that_is_not_allowed_is_refused_by_name(bench: Bench) -> None:
    error = await bench.refusal("Hello", tenant_models=frozenset({THIRD}))

    assert (error.status, error.type) == (403, "permission_error")
    assert (error.details["reason"], error.details["allowed_models"]) == ("model_not_allowed", [THIRD])
    assert THIRD in error.message
    assert await events() == []


async def test_a_fixed_answer_is_checked_when_it_is_published(bench: Bench) -> None:
    text = await _content(bench, "complete")
    chosen = await _content(bench, "classify")
    listed = replace(text, output_schema={**SHAPE})

    check(replace(text, policy={"fallback_answer": "Come back later."}))
    check(replace(listed, policy={"fallback_answer": {"label": "unknown"}}))
    for content, answer in (
        (text, {"label": "x"}),
        (text, " "),
        (listed, {"label": 1}),
        (listed, "x"),
        (chosen, {"x": 1}),
    ):
        with pytest.raises(InvalidRequest) as refused:
            check(replace(content, policy={"fallback_answer": answer}))
        assert refused.value.details["path"] == "policy/fallback_answer"


SHAPE: dict[str, Any] = {
    "type": "object",
    "properties": {"label": {"type": "string"}},
    "required": ["label"],
    "additionalProperties": False,
}


async def _content(bench: Bench, skill: str) -> Content:
    version = await catalog.resolve(bench.caller.tenant_id, skill, sticky="1")
    return Content(**{name: getattr(version, name) for name in CONTENT_FIELDS})


def _shown(run: Run, done: Any) -> dict[str, Any]:
    return rendering.completed(done, version=run._order.version, model=run.model)
