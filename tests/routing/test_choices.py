"""The choice of a model from outside: the answer, the event and upstream's journal all say the same."""

import json
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from kit import sse
from tests.skills.gateway import Gateway, Key

FAST, BALANCED, DEEP = "claude-haiku-4-5", "claude-sonnet-5", "claude-opus-5"
BY_SIZE = {"kind": "by_size", "sizes": [{"up_to": 600, "model": "fast"}, {"up_to": 3_000, "model": "balanced"}]}
BY_CLASSIFIER = {"kind": "by_classifier"}


class Desk:
    """A tenant of the test's own with a skill `say`, and a key to it."""

    def __init__(
        self, gateway: Gateway, *, routing: dict[str, Any], content: dict[str, Any], ttl: int = 0, **terms: Any
    ) -> None:
        self.gateway, self.slug = gateway, f"t-{uuid4().hex[:12]}"
        self.key: Key = gateway.key(tenant=self.slug, **terms)
        policy = {"routing": routing, **({"cache": {"ttl_seconds": ttl}} if ttl else {})}
        gateway.ask_clerk("publish", tenant=self.slug, name="say", policy=policy, **content)

    def post(self, text: str, *, path: str = "/v1/skills/say") -> httpx2.Response:
        body = {"input": {"text": text}}
        return httpx2.post(self.gateway.url + path, json=body, headers=self.key.headers, timeout=30)

    def models(self) -> list[tuple[str, str]]:
        """Return what the key's events are for and by which model, in order."""
        return [(event["purpose"], event["model"]) for event in self.key.events()]


def desk(gateway: Gateway, routing: dict[str, Any], *, content: dict[str, Any] | None = None, **terms: Any) -> Desk:
    return Desk(gateway, routing=routing, content=content or {}, **terms)


@pytest.mark.parametrize(("length", "model"), [(20, FAST), (1_500, BALANCED), (6_000, DEEP)])
def test_by_size_the_bound_of_the_input_decides(gateway: Gateway, length: int, model: str) -> None:
    asked = desk(gateway, BY_SIZE, content={"model": "deep"})

    answer = asked.post("word " * (length // 5)).json()

    assert answer["model"] == model
    assert answer["route"]["kind"] == "by_size"
    assert "tokens" in answer["route"]["reason"]
    event = asked.key.event()
    assert (event["model"], event["route"]) == (model, f"by_size: {answer['route']['reason']}")
    assert [entry["model"] for entry in asked.key.billed()] == [model]
    asked.key.assert_books_agree()


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("A simple matter.", FAST),
        ("A moderate matter.", BALANCED),
        ("A complex matter.", DEEP),
        ("A bulk matter.", FAST),
    ],
)
def test_by_classifier_a_cheap_call_decides_and_is_booked(gateway: Gateway, text: str, model: str) -> None:
    asked = desk(gateway, BY_CLASSIFIER)

    answer = asked.post(text).json()

    assert (answer["model"], answer["route"]["kind"]) == (model, "by_classifier")
    assert asked.models() == [("classify", FAST), ("answer", model)]
    classified, answered = asked.key.events()
    assert (classified["attempt"], answered["attempt"]) == (1, 2)
    assert classified["run_id"] == answered["run_id"]
    assert answer["usage"]["attempts"] == 2
    assert answer["usage"]["cost_micros"] == classified["cost_micros"] + answered["cost_micros"]
    assert "class" not in answer["output"]
    asked.key.assert_books_agree()


def test_the_classifier_obeys_the_policys_own_models(gateway: Gateway) -> None:
    asked = desk(gateway, {"kind": "by_classifier", "models": {"complex": "balanced", "simple": "deep"}})

    assert [asked.post(text).json()["model"] for text in ("Complex.", "Simple.")] == [BALANCED, DEEP]


@pytest.mark.parametrize("kind", ["http_400", "truncate", "refusal"])
def test_when_the_classifier_does_not_help_the_model_for_doubt_answers(gateway: Gateway, kind: str) -> None:
    asked, mark = desk(gateway, BY_CLASSIFIER), uuid4().hex
    fault = {"kind": kind, "marker": mark, "models": [FAST]}
    httpx2.post(f"{gateway.emulator}/_emulator/faults", json=fault).raise_for_status()

    answer = asked.post(f"A complex matter {mark}.").json()

    assert answer["model"] == BALANCED
    assert "did not help" in answer["route"]["reason"]
    assert asked.models()[-1] == ("answer", BALANCED)
    assert {purpose for purpose, _ in asked.models()[:-1]} == {"classify"}


def test_a_classifier_that_is_silent_is_not_waited_for(gateway: Gateway) -> None:
    asked, mark = desk(gateway, BY_CLASSIFIER), uuid4().hex
    fault = {"kind": "silence", "marker": mark, "models": [FAST], "seconds": 30}
    httpx2.post(f"{gateway.emulator}/_emulator/faults", json=fault).raise_for_status()

    answer = asked.post(f"A complex matter {mark}.").json()

    assert answer["model"] == BALANCED
    assert {event["state"] for event in asked.key.events()} == {"estimated", "settled"}


def test_a_kept_answer_is_not_classified_again_and_says_why_its_model_answered(gateway: Gateway) -> None:
    asked = desk(gateway, BY_CLASSIFIER, ttl=60)

    first, second = (asked.post("A complex matter.").json() for _ in range(2))

    assert [one["cache"]["hit"] for one in (first, second)] == [False, True]
    assert (second["model"], second["route"], second["output"]) == (DEEP, first["route"], first["output"])
    assert [purpose for purpose, _ in asked.models()] == ["classify", "answer", "cached"]


def test_by_budget_little_left_means_a_cheaper_model(gateway: Gateway) -> None:
    routing = {"kind": "by_budget", "budgets": [{"below_percent": 50, "model": "fast"}]}
    rich, poor = desk(gateway, routing), desk(gateway, routing, monthly_token_budget=2_000)
    spending = {"input": {"prompt": "[[emulator:words:700]] word " + "word " * 300}, "max_tokens": 1_000}
    headers = poor.key.headers
    httpx2.post(f"{gateway.url}/v1/skills/complete", json=spending, headers=headers, timeout=30).raise_for_status()

    answers = [asked.post("Hello.").json() for asked in (rich, poor)]

    assert [answer["model"] for answer in answers] == [BALANCED, FAST]
    assert rich.key.event()["route"] == "by_budget: 100 % of the month's budget is left."
    assert answers[1]["route"]["reason"].endswith("of the month's budget is left, less than 50 %.")


def test_a_choice_outside_of_what_the_key_may_use_falls_to_the_nearest(gateway: Gateway) -> None:
    asked = desk(gateway, BY_SIZE, content={"model": "deep"}, allowed_models=[FAST, BALANCED])

    answer = asked.post("word " * 2_000).json()

    assert answer["model"] == BALANCED
    assert f"{DEEP} is not allowed to this key" in answer["route"]["reason"]
    assert asked.key.event()["model"] == BALANCED


def test_a_choice_with_no_allowed_model_left_is_refused_and_writes_nothing(gateway: Gateway) -> None:
    asked = desk(gateway, BY_SIZE, allowed_models=["claude-nothing"])
    before = gateway.billed_before()

    answer = asked.post("Hello.")

    assert answer.status_code == 403
    assert answer.json()["error"]["reason"] == "model_not_allowed"
    assert asked.key.events() == []
    assert gateway.billed_before() == before


def test_a_fixed_model_is_no_choice_and_gives_way_to_none(gateway: Gateway) -> None:
    asked = desk(gateway, {"kind": "fixed"}, allowed_models=[FAST])

    assert asked.post("Hello.").status_code == 403
    assert asked.key.events() == []


def test_a_stream_says_the_route_at_its_start_and_in_its_usage(gateway: Gateway) -> None:
    asked = desk(gateway, BY_CLASSIFIER)

    raw = asked.post("A complex matter.", path="/v1/skills/say/stream").content

    events = [(one.event, json.loads(one.data)) for one in sse.Decoder().feed(raw) if one.data != "[DONE]"]
    said = dict(events)
    assert events[0][0] == "run.started"
    assert said["run.started"]["model"] == said["usage"]["model"] == DEEP
    assert said["run.started"]["route"] == said["usage"]["route"]
    assert said["usage"]["route"]["kind"] == "by_classifier"
    assert "".join(data["text"] for name, data in events if name == "text") == said["output"]["output"]


def test_a_tool_says_the_route_beside_its_result(gateway: Gateway) -> None:
    asked = desk(gateway, BY_SIZE, content={"model": "deep"})
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "say", "arguments": {"text": "Hi."}}}
    accepts = {"Accept": "application/json, text/event-stream"}

    answer = httpx2.post(f"{gateway.url}/mcp", json=call, headers={**asked.key.headers, **accepts}, timeout=30)

    (data,) = [one.data for one in sse.Decoder().feed(answer.content) if '"result"' in one.data] or [answer.text]
    about = json.loads(data)["result"]["_meta"]["skillgate/usage"]
    assert (about["model"], about["route"]["kind"]) == (FAST, "by_size")
