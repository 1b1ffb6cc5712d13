"""What a caller of the JSON API sees: answers, usage, limits, budgets, the catalogue, health."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from tests.api.conftest import Send
from tests.skills.gateway import Gateway, Key, MakeKey

TEXT = (
    "Alice was beginning to get very tired of sitting by her sister on the bank, and of having nothing to do."
    " She had peeped into the book her sister was reading, but it had no pictures or conversations in it."
)
ALICE = (Path(settings.BASE_DIR) / "examples" / "alice.txt").read_text()


def test_a_summary_of_a_real_document_is_metered_to_the_token(send: Send, key: Key) -> None:
    answered = send("/v1/skills/summarize", {"input": {"text": ALICE, "max_words": 60}})

    done, event = answered.json, key.event()
    assert answered.status == 200
    assert 0 < len(done["output"].split()) <= 60
    assert (done["skill"], done["version"], done["label"]) == ("summarize", 1, "production")
    assert done["usage"]["input_tokens"] + done["usage"]["cache_creation_input_tokens"] > 3000
    assert done["usage"]["total_tokens"] == event["charged_tokens"]
    assert done["usage"]["cost_micros"] == event["cost_micros"]
    assert done["usage"]["cost_usd"] == f"{event['cost_micros'] / 1_000_000:.6f}"
    assert event["request_id"] == answered.headers["request-id"]
    key.assert_books_agree()


def test_a_classification_is_one_of_the_labels(send: Send, key: Key) -> None:
    labels = ["praise", "refund", "question"]

    answered = send("/v1/skills/classify", {"input": {"text": "I want my refund for the toaster.", "labels": labels}})

    assert answered.json["output"]["label"] == "refund"
    key.assert_books_agree()


def test_an_extraction_fits_the_callers_schema(send: Send, key: Key) -> None:
    schema = {
        "type": "object",
        "additionalProperties": False,
        "required": ["email", "amount"],
        "properties": {"email": {"type": "string", "format": "email"}, "amount": {"type": "number", "minimum": 1}},
    }
    text = "Please send the invoice of 42.50 euros to jane@example.com."

    answered = send("/v1/skills/extract", {"input": {"text": text, "schema": schema}})

    assert answered.json["output"]["email"] == "jane@example.com"
    assert answered.json["output"]["amount"] >= 1
    key.assert_books_agree()


def test_an_answer_cites_its_documents_verbatim(send: Send, key: Key) -> None:
    documents = [{"title": "Book", "text": TEXT}, {"title": "Other", "text": "The moon is far away."}]

    answered = send("/v1/skills/answer", {"input": {"question": "Who was tired?", "documents": documents}})

    citations = answered.json["citations"]
    assert citations
    for citation in citations:
        source = documents[citation["document_index"]]["text"]
        assert source[citation["start_char_index"] : citation["end_char_index"]] == citation["cited_text"]
    key.assert_books_agree()


def test_a_completion_is_the_skill_chat(send: Send, key: Key) -> None:
    answered = send(
        "/v1/completions",
        {"messages": [{"role": "user", "content": "Tell me of rabbits."}], "system": "Be brief.", "max_tokens": 50},
    )

    assert (answered.status, answered.json["skill"]) == (200, "chat")
    assert 0 < answered.json["usage"]["output_tokens"] <= 50
    key.assert_books_agree()


def test_an_answer_that_does_not_fit_is_repaired_by_one_further_metered_attempt(
    gateway: Gateway, send: Send, key: Key
) -> None:
    schema = {
        "type": "object",
        "required": ["code"],
        "properties": {"code": {"type": "string", "pattern": "^[0-9]{9}$"}},
    }

    answered = send("/v1/skills/extract", {"input": {"text": "No code at all here.", "schema": schema}})

    assert [event["purpose"] for event in key.events()] == ["answer", "repair"]
    assert len({event["run_id"] for event in key.events()}) == 1
    assert (answered.status, answered.error["type"]) == (502, "api_error")
    key.assert_books_agree()


def test_each_answer_carries_the_limits_and_a_request_id(send: Send) -> None:
    answered = send("/v1/skills/complete", {"input": {"prompt": "Say hello."}})

    assert int(answered.headers["anthropic-ratelimit-requests-remaining"]) == 9_999
    assert answered.headers["ratelimit-policy"]
    assert answered.headers["request-id"] == answered.headers["x-request-id"]


def test_a_key_sees_its_budgets_move(send: Send, make_key: MakeKey) -> None:
    key = make_key(monthly_token_budget=500_000)
    done = send("/v1/skills/summarize", {"input": {"text": TEXT}}, headers=_as(key)).json

    mine = [budget for budget in send("/v1/key", headers=_as(key)).json["budgets"] if budget["owner"] == "key"]

    assert mine[0]["limit"] == 500_000
    assert mine[0]["used"] == done["usage"]["total_tokens"]
    assert mine[0]["reserved"] == 0
    assert mine[0]["left"] == 500_000 - done["usage"]["total_tokens"]
    assert mine[0]["resets_at"].endswith("-01T00:00:00+00:00")


def test_usage_is_paged_without_gap_and_totalled(send: Send, key: Key) -> None:
    for number in range(5):
        send("/v1/skills/complete", {"input": {"prompt": f"Say {number}."}})

    numbers: list[int] = []
    page = send("/v1/usage?limit=2").json
    numbers += [event["number"] for event in page["data"]]
    while page["has_more"]:
        page = send(f"/v1/usage?limit=2&cursor={page['next_cursor']}").json
        numbers += [event["number"] for event in page["data"]]

    events = key.events()
    assert numbers == [event["number"] for event in reversed(events)]
    assert page["totals"]["calls"] == 5
    assert page["totals"]["charged_tokens"] == sum(event["charged_tokens"] for event in events)
    assert page["totals"]["cost_micros"] == sum(event["cost_micros"] for event in events)
    assert send("/v1/usage?skill=summarize").json["totals"]["calls"] == 0
    assert send("/v1/usage?state=settled&skill=complete").json["totals"]["calls"] == 5


def test_another_keys_events_are_not_there(send: Send, make_key: MakeKey) -> None:
    mallory = make_key(tenant="mallory")
    send("/v1/skills/complete", {"input": {"prompt": "Say hello."}})

    seen = send("/v1/usage", headers=_as(mallory)).json

    assert (seen["data"], seen["totals"]["calls"]) == ([], 0)


def test_the_catalogue_shows_what_a_key_may_call(send: Send, make_key: MakeKey) -> None:
    narrow = make_key(allowed_skills=["classify"])

    everything = [one["name"] for one in send("/v1/skills").json["data"]]
    little = [one["name"] for one in send("/v1/skills", headers=_as(narrow)).json["data"]]
    one = send("/v1/skills/classify", headers=_as(narrow)).json

    assert {"summarize", "classify", "extract", "translate", "answer", "chat", "complete"} <= set(everything)
    assert little == ["classify"]
    assert one["input_schema"]["required"] == ["text", "labels"]
    assert send("/v1/skills/summarize", headers=_as(narrow)).status == 404


def test_a_skill_outside_the_scope_is_refused_and_nothing_is_spent(send: Send, make_key: MakeKey) -> None:
    narrow = make_key(allowed_skills=["classify"])
    reader = make_key(allowed_verbs=["read"])
    body = {"input": {"text": TEXT}}

    assert send("/v1/skills/summarize", body, headers=_as(narrow)).status == 403
    assert send("/v1/skills/summarize", body, headers=_as(reader)).status == 403
    assert narrow.events() == reader.events() == []


def test_a_budget_refusal_says_what_would_pass_and_that_passes(send: Send, make_key: MakeKey) -> None:
    key = make_key(monthly_token_budget=1500)
    body: dict[str, Any] = {"input": {"text": TEXT}, "max_tokens": 2000}

    refused = send("/v1/skills/summarize", body, headers=_as(key))
    passing = send(
        "/v1/skills/summarize", {**body, "max_tokens": refused.error["would_pass"]["max_tokens"]}, headers=_as(key)
    )

    assert (refused.status, refused.error["type"], refused.error["owner"]) == (402, "billing_error", "key")
    assert (refused.error["cap"], refused.error["used"], refused.error["reserved"]) == (1500, 0, 0)
    assert refused.error["resets_at"].endswith("+00:00")
    assert passing.status == 200
    assert len(key.events()) == 1


def test_a_rate_refusal_says_when_to_come_back_and_spends_nothing(send: Send, make_key: MakeKey) -> None:
    key = make_key(requests_per_minute=1)
    body = {"input": {"prompt": "Say hello."}}

    first = send("/v1/skills/complete", body, headers=_as(key))
    second = send("/v1/skills/complete", body, headers=_as(key))

    assert (first.status, second.status) == (200, 429)
    assert 1 <= int(second.headers["retry-after"]) <= 60
    assert second.error["limit"]
    assert len(key.events()) == 1


def test_a_revoked_key_is_refused_from_the_commit_on(send: Send, make_key: MakeKey) -> None:
    key = make_key()
    body = {"input": {"prompt": "Say hello."}}
    send("/v1/skills/complete", body, headers=_as(key))

    key.revoke()

    assert send("/v1/skills/complete", body, headers=_as(key)).status == 401
    assert send("/v1/key", headers=_as(key)).status == 401
    assert len(key.events()) == 1


def test_health_tells_alive_ready_and_deep(send: Send, make_key: MakeKey) -> None:
    operator = make_key(allowed_verbs=["health"])

    live = send("/health/live", headers={"Authorization": None})
    ready = send("/health/ready", headers={"Authorization": None})
    deep = send("/health/deep", headers=_as(operator))

    assert (live.status, live.json) == (200, {"status": "ok"})
    assert ready.status == 200
    assert ready.json["checks"] == {"postgres": "ok", "redis": "ok", "worker": "missing", "migrations": "ok"}
    assert (deep.status, deep.json["status"]) == (200, "ok")
    assert operator.event()["entry_point"] == "health"


def test_the_deep_check_takes_a_key_that_names_it(send: Send, key: Key) -> None:
    assert send("/health/deep", headers={"Authorization": None}).status == 401
    assert send("/health/deep").status == 403
    assert key.events() == []


def test_the_openapi_document_describes_every_endpoint(send: Send) -> None:
    document = json.loads(send("/v1/openapi.json", headers={"Authorization": None}).raw)

    assert {"/v1/skills", "/v1/skills/{name}", "/v1/completions", "/v1/key", "/v1/usage"} <= set(document["paths"])
    run = document["paths"]["/v1/skills/{name}"]["post"]
    assert run["requestBody"]["content"]["application/json"]["schema"]["required"] == ["input"]
    assert {"200", "400", "401", "402", "429", "529"} <= set(run["responses"])


def test_the_docs_load_nothing_from_elsewhere(send: Send) -> None:
    page = send("/docs", headers={"Authorization": None})

    assert page.status == 200
    assert b"swagger-ui" in page.raw
    assert b"http://" not in page.raw.replace(b"http://www.w3.org", b"")
    assert b"https://" not in page.raw


@pytest.mark.parametrize(
    "kind", ["http_400", "http_401", "http_404", "http_429:0.01", "http_500", "http_529", "html_502"]
)
def test_an_upstream_refusal_is_mapped_and_costs_nothing_it_did_not(kind: str, send: Send, key: Key) -> None:
    expected = {"http_400": 400, "http_429:0.01": 429, "http_529": 529}.get(kind, 502)

    answered = send("/v1/skills/complete", {"input": {"prompt": f"Say hello. [[emulator:{kind}]]"}})

    assert answered.status == expected
    assert {event["state"] for event in key.events()} == {"estimated" if kind == "html_502" else "released"}


def _as(key: Key) -> dict[str, str | None]:
    return dict(key.headers)


def test_a_budget_refusal_is_counted_once(gateway: Gateway, send: Send, make_key: MakeKey) -> None:
    key = make_key(monthly_token_budget=100)

    refused = send("/v1/skills/summarize", {"input": {"text": TEXT}}, headers=_as(key))

    give_up = time.monotonic() + 30
    while not (rows := gateway.rows("SELECT * FROM tenants_refusal WHERE key_id = %s", key.key_id)):
        assert time.monotonic() < give_up
        time.sleep(0.2)
    assert refused.status == 402
    assert [(row["reason"], row["count"]) for row in rows] == [("budget_exceeded", 1)]
