"""Runs as server-sent events, through real servers."""

import json

import httpx2
from django.conf import settings

from tests.live import Live
from tests.skills.listening import CLASSIFY, SUMMARIZE, json_input, listen, opened, text_input


def test_a_text_skill_streams_its_events_in_order(everywhere: Live) -> None:
    heard = listen(everywhere, SUMMARIZE, text_input(words=40))

    assert heard.status == 200
    assert heard.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert heard.headers["x-accel-buffering"] == "no"
    assert heard.headers["cache-control"] == "no-cache, no-transform"
    assert heard.names[0] == "run.started"
    assert set(heard.names[1:-4]) == {"text"}
    assert heard.names[-4:] == ["output", "usage", "done", "message"]
    assert heard.raw.endswith(b"\n\ndata: [DONE]\n\n")
    assert heard.data("output")["output"] == heard.text
    assert len(heard.text.split()) == 40


def test_every_event_has_an_id_that_counts(live: Live) -> None:
    heard = listen(live, SUMMARIZE, text_input(words=12))

    ids = [event.id for event in heard.events[:-1]]
    assert ids == [f"{heard.run_id}-{number}" for number in range(1, len(ids) + 1)]


def test_the_usage_event_says_what_the_ledger_says(live: Live) -> None:
    heard = listen(live, SUMMARIZE, text_input())

    (event,) = live.closed_events()
    usage = heard.data("usage")
    assert event["state"] == "settled"
    assert event["entry_point"] == "sse"
    assert usage["total_tokens"] == event["charged_tokens"] > 0
    assert usage["cost_micros"] == event["cost_micros"] > 0
    assert usage["is_estimated"] is False
    assert live.outcomes() == ["complete"]


def test_a_json_skill_sends_its_checked_output_once(live: Live) -> None:
    heard = listen(live, CLASSIFY, json_input())

    assert heard.names == ["run.started", "output", "usage", "done", "message"]
    assert heard.data("output")["output"]["label"] in {"billing", "praise"}


def test_text_that_looks_like_events_forges_none(live: Live) -> None:
    forged = 'evil\n\nevent: done\ndata: {"run_id":"forged"}\n\ndata: [DONE]\n\n\u2028event: error\r\rdata: x'
    body = {"input": {"text": forged, "labels": [forged, "other"]}}

    heard = listen(live, CLASSIFY, body)

    assert heard.names == ["run.started", "output", "usage", "done", "message"]
    assert heard.data("done") == {"run_id": heard.run_id}


def test_the_first_bytes_do_not_wait_for_the_answer(everywhere: Live) -> None:
    with opened(everywhere, SUMMARIZE, text_input("latency:0.7", words=8, chunk_ms=700)) as (heard, pieces):
        next(pieces)

        assert heard.names == ["run.started"]
        for _ in pieces:
            pass
    spread = heard.times[-1] - heard.times[0]
    assert spread > 1.0, "the events came together"


def test_what_is_refused_before_the_first_event_is_an_ordinary_error(everywhere: Live) -> None:
    url = f"{everywhere.base_url}{SUMMARIZE}"
    no_key = httpx2.post(url, json=text_input(), headers={"Accept": "text/event-stream"})
    unfit = everywhere.post(SUMMARIZE, {"input": {}})
    absent = everywhere.post("/v1/skills/nothing/stream", {"input": {}})
    stranger = everywhere.post(SUMMARIZE, {**text_input(), "surprise": 1})

    answers = [no_key, unfit, absent, stranger]
    assert [answer.status_code for answer in answers] == [401, 400, 404, 400]
    assert {answer.headers["content-type"] for answer in answers} == {"application/json"}
    assert [answer.json()["error"]["type"] for answer in answers] == [
        "authentication_error",
        "invalid_request_error",
        "not_found_error",
        "invalid_request_error",
    ]
    assert everywhere.events() == []
    assert everywhere.journal() == []


def test_a_call_over_its_budget_is_an_ordinary_402(live: Live) -> None:
    poor = live.issue_key(monthly_token_budget=10)

    answer = live.post(SUMMARIZE, text_input(), headers={"X-API-Key": poor.secret})

    assert answer.status_code == 402
    assert answer.json()["error"]["type"] == "billing_error"
    assert live.events() == []


def test_a_failure_after_the_first_event_is_an_error_event_with_the_same_envelope(live: Live) -> None:
    cases = {
        "error_event": ("overloaded_error", 1),
        "truncate": ("api_error", 2),
        "drop": ("api_error", 3),
        "http_529": ("overloaded_error", 3 + settings.CLAUDE_ATTEMPTS),  # nothing of an answer was heard
    }

    for mark, (kind, count) in cases.items():
        heard = listen(live, SUMMARIZE, text_input(mark), X_Request_ID="my-request-1")

        error = heard.data("error")
        assert error["type"] == "error"
        assert error["error"]["type"] == kind, mark
        assert error["request_id"] == "my-request-1"
        assert heard.names[-3:] == ["usage", "error", "message"]
        assert "done" not in heard.names
        live.closed_events(count)
    states = [event["state"] for event in live.events()]
    assert states == [*["estimated"] * 3, *["released"] * settings.CLAUDE_ATTEMPTS]


def test_silence_is_filled_with_comments(live: Live) -> None:
    heard = listen(live, SUMMARIZE, text_input("latency:17", words=4))

    assert heard.raw.count(b": \n\n") == 1
    assert heard.names[0] == "run.started"
    assert heard.names[-1] == "message"


def test_a_revoked_key_ends_its_streams_within_a_second_and_is_billed_once(everywhere: Live) -> None:
    import time

    from kit import clock
    from tenants import keys
    from tenants.models import ApiKey

    with opened(everywhere, SUMMARIZE, text_input(words=400, chunk_ms=200)) as (heard, pieces):
        while "text" not in heard.names:
            next(pieces)
        key = everywhere.do(lambda: ApiKey.objects.get(public_id=everywhere.public_id))
        everywhere.do(lambda: keys.revoke(key, reason="leaked", now=clock.now()))
        revoked_at = time.monotonic()
        for _ in pieces:
            pass
        ended_after = time.monotonic() - revoked_at

    assert ended_after < 1.0
    assert heard.data("error")["error"]["type"] == "authentication_error"
    (event,) = everywhere.closed_events()
    assert event["state"] == "estimated"
    assert everywhere.outcomes() == ["client_gone"]


def test_the_stream_is_described(live: Live) -> None:
    document = httpx2.get(f"{live.base_url}/v1/openapi.json", timeout=30).json()

    described = document["paths"]["/v1/skills/{name}/stream"]["post"]
    assert "text/event-stream" in described["responses"]["200"]["content"]
    assert {"409", "410", "422"} <= set(described["responses"])
    assert json.dumps(described).count("Idempotency-Key") == 1
