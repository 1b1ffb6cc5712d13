"""Retries are safe: one key, one execution, one answer."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import httpx2
import pytest
from django.conf import settings

from skills import idempotency
from tests.live import Live, eventually, running
from tests.skills.listening import SUMMARIZE, listen, listen_until, text_input

RUN = "/v1/skills/summarize"


def _calls(live: Live) -> list[dict[str, object]]:
    return live.rows(
        "SELECT c.* FROM skills_idempotentcall c JOIN tenants_apikey k ON k.id = c.family_id WHERE k.tenant_id = %s",
        live.tenant.pk,
    )


def test_concurrent_calls_with_one_key_are_executed_once(everywhere: Live) -> None:
    headers = {"Idempotency-Key": str(uuid4())}
    body = text_input(words=20, chunk_ms=100)

    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(lambda _: everywhere.post(RUN, body, headers=headers), range(12)))
    again = everywhere.post(RUN, body, headers=headers)

    executed = [answer for answer in answers if answer.status_code == 200]
    refused = [answer for answer in answers if answer.status_code == 409]
    assert (len(executed), len(refused)) == (1, 11)
    assert {answer.headers["Retry-After"] for answer in refused} == {"1"}
    assert {answer.json()["error"]["type"] for answer in refused} == {"conflict_error"}
    assert "Idempotent-Replayed" not in executed[0].headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (again.status_code, again.content) == (200, executed[0].content)
    assert everywhere.outcomes() == ["complete"]
    assert len(everywhere.closed_events()) == 1


def test_an_answer_is_replayed_on_another_process(live: Live, live_uvicorn: Live) -> None:
    headers = {"Idempotency-Key": "order-1", "X-API-Key": live.key}

    first = live.post(RUN, text_input(), headers=headers)
    second = live_uvicorn.post(RUN, text_input(), headers=headers)

    assert second.content == first.content
    assert second.headers["Idempotent-Replayed"] == "true"
    assert second.headers["Content-Type"] == "application/json"
    assert len(live.events()) == 1


def test_another_request_with_the_same_key_is_refused(live: Live) -> None:
    headers = {"Idempotency-Key": "order-2"}
    live.post(RUN, text_input(words=10), headers=headers)

    other_body = live.post(RUN, text_input(words=11), headers=headers)
    other_path = live.post(SUMMARIZE, text_input(words=10), headers=headers)

    assert [other_body.status_code, other_path.status_code] == [422, 422]
    assert other_body.json()["error"]["type"] == "invalid_request_error"
    assert len(live.events()) == 1


def test_the_order_of_fields_makes_no_difference(live: Live) -> None:
    headers = {**live.headers, "Idempotency-Key": "order-3", "Content-Type": "application/json"}
    url = f"{live.base_url}{RUN}"

    first = httpx2.post(url, content=b'{"input": {"text": "A b c."}, "max_tokens": 50}', headers=headers)
    second = httpx2.post(url, content=b'{ "max_tokens":50,"input":{"text":"A b c."}}', headers=headers)

    assert first.status_code == 200
    assert second.content == first.content
    assert len(live.events()) == 1


def test_keys_of_other_callers_are_other_keys(live: Live) -> None:
    sibling = live.issue_key()

    first = live.post(RUN, text_input(), headers={"Idempotency-Key": "order-4"})
    second = live.post(RUN, text_input(), headers={"Idempotency-Key": "order-4", "X-API-Key": sibling.secret})

    assert "Idempotent-Replayed" not in second.headers
    assert first.json()["id"] != second.json()["id"]
    assert len(live.events()) == 2


@pytest.mark.parametrize(("fault", "status"), [("http_529", 529), ("http_429", 429), ("http_500", 502)])
def test_what_spent_nothing_is_not_kept_so_that_a_retry_can_pass(live: Live, fault: str, status: int) -> None:
    marker = uuid4().hex
    body = {"input": {"text": f"A story of {marker}."}}
    httpx2.post(
        f"{live.emulator_url}/_emulator/faults",
        json={"kind": fault, "count": settings.CLAUDE_ATTEMPTS, "marker": marker, "retry_after": 0.01},
    )
    headers = {"Idempotency-Key": marker}

    failed = live.post(RUN, body, headers=headers)
    passed = live.post(RUN, body, headers=headers)
    replayed = live.post(RUN, body, headers=headers)

    assert failed.status_code == status
    assert passed.status_code == 200
    assert "Idempotent-Replayed" not in passed.headers
    assert replayed.content == passed.content
    assert [event["state"] for event in live.events()] == [*["released"] * settings.CLAUDE_ATTEMPTS, "settled"]


def test_refusals_are_not_kept(live: Live) -> None:
    poor = live.issue_key(monthly_token_budget=10)
    headers = {"Idempotency-Key": "order-5"}

    answers = [
        live.post(RUN, {"input": {}}, headers=headers),
        live.post(RUN, text_input(), headers={**headers, "X-API-Key": "sg_live_wrong"}),
        live.post(RUN, text_input(), headers={**headers, "X-API-Key": poor.secret}),
    ]

    assert [answer.status_code for answer in answers] == [400, 401, 402]
    assert _calls(live) == []
    assert live.events() == []


def test_a_failure_that_was_paid_for_is_kept(live: Live) -> None:
    headers = {"Idempotency-Key": "order-6"}

    first = live.post(RUN, text_input("truncate"), headers=headers)
    second = live.post(RUN, text_input("truncate"), headers=headers)

    assert first.status_code == 502
    assert (second.status_code, second.content) == (502, first.content)
    assert second.headers["Idempotent-Replayed"] == "true"
    assert len(live.closed_events()) == 1


def test_a_client_that_left_gets_its_answer_by_a_retry(everywhere: Live) -> None:
    headers = {"Idempotency-Key": "order-7"}
    body = text_input(words=40, chunk_ms=150)
    with pytest.raises(httpx2.TimeoutException):
        httpx2.post(f"{everywhere.base_url}{RUN}", json=body, headers={**everywhere.headers, **headers}, timeout=0.5)

    under_way = everywhere.post(RUN, body, headers=headers)
    everywhere.closed_events(within=8)
    eventually(lambda: _calls(everywhere)[0]["answered_at"])
    done = everywhere.post(RUN, body, headers=headers)

    assert under_way.status_code == 409
    assert done.headers["Idempotent-Replayed"] == "true"
    assert everywhere.outcomes() == ["complete"]


@pytest.mark.parametrize("key", ["", "x" * 256, "caf\u00e9", "a\tb"])
def test_a_key_that_is_no_printable_ascii_is_refused(live: Live, key: str) -> None:
    headers = [(b"X-API-Key", live.key.encode()), (b"Idempotency-Key", key.encode("latin-1"))]
    answer = httpx2.post(f"{live.base_url}{RUN}", json=text_input(), headers=headers)

    assert answer.status_code == 400
    assert live.events() == []


def test_completions_are_executed_once_too(live: Live) -> None:
    body = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 30}
    headers = {"Idempotency-Key": "order-8"}

    first = live.post("/v1/completions", body, headers=headers)
    second = live.post("/v1/completions", body, headers=headers)

    assert second.content == first.content
    assert len(live.events()) == 1


def test_a_repeated_stream_is_replayed_from_the_start(everywhere: Live) -> None:
    body = text_input(words=30, chunk_ms=60)
    lost = listen_until(everywhere, SUMMARIZE, body, lambda heard: "text" in heard.names, Idempotency_Key="order-9")

    joined = listen(everywhere, SUMMARIZE, body, Idempotency_Key="order-9")
    eventually(lambda: _calls(everywhere)[0]["answered_at"])
    kept = listen(everywhere, SUMMARIZE, body, Idempotency_Key="order-9")

    assert joined.raw.startswith(lost.raw)
    assert kept.raw == joined.raw
    assert joined.headers["Idempotent-Replayed"] == kept.headers["Idempotent-Replayed"] == "true"
    assert everywhere.outcomes() == ["complete"]
    assert len(everywhere.closed_events()) == 1


def test_concurrent_streams_with_one_key_are_executed_once(live: Live) -> None:
    body = text_input(words=30, chunk_ms=50)

    with ThreadPoolExecutor(8) as threads:
        heard = list(threads.map(lambda _: listen(live, SUMMARIZE, body, Idempotency_Key="order-10"), range(8)))

    whole = {one.raw for one in heard if one.status == 200}
    assert len(whole) == 1
    assert {one.status for one in heard} <= {200, 409}
    assert len(live.closed_events()) == 1


def test_a_key_outlives_the_death_of_its_server(live: Live, live_environment: dict[str, str], tmp_path: Path) -> None:
    headers = {"Idempotency-Key": "order-11"}
    body = text_input(words=100, chunk_ms=100)
    with running("server", "--port", "0", log=tmp_path / "log", env=live_environment) as doomed:
        there = Live(doomed, live.emulator_url, live.tenant, live.key, live.public_id, live._blocker)
        with pytest.raises(httpx2.TimeoutException):
            httpx2.post(f"{there.base_url}{RUN}", json=body, headers={**live.headers, **headers}, timeout=1)
        doomed.kill()

    while_leased = live.post(RUN, body, headers=headers)
    live.rows("UPDATE skills_idempotentcall SET lease_until = now() WHERE id = %s RETURNING id", _calls(live)[0]["id"])
    retried = live.post(RUN, body, headers=headers)
    replayed = live.post(RUN, body, headers=headers)

    assert while_leased.status_code == 409
    assert retried.status_code == 200
    assert replayed.content == retried.content
    assert _calls(live)[0]["executions"] == 2
    assert len(live.events()) == 2


def test_what_was_lost_twice_is_not_made_a_third_time(live: Live) -> None:
    body = text_input()
    headers = {"Idempotency-Key": "order-12"}
    live.post(RUN, body, headers=headers)
    live.rows(
        "UPDATE skills_idempotentcall SET lease_until = now(), answered_at = NULL, status = NULL, content = NULL, "
        "executions = 2 WHERE id = %s RETURNING id",
        _calls(live)[0]["id"],
    )

    answer = live.post(RUN, body, headers=headers)

    assert answer.status_code == 409
    assert answer.json()["error"]["reason"] == "outcome_unknown"
    assert len(live.events()) == 1


def test_leases_of_calls_under_way_are_renewed(live: Live) -> None:
    body = text_input(words=20, chunk_ms=3000)
    with ThreadPoolExecutor(1) as thread:
        thread.submit(live.post, RUN, body, headers={"Idempotency-Key": "order-13"})
        first = eventually(lambda: _calls(live))[0]["lease_until"]
        renewed = eventually(lambda: _calls(live)[0]["lease_until"] != first, within=14)

    assert renewed


def test_answers_are_forgotten_after_a_day(live: Live) -> None:
    from kit import clock

    for key in ("old", "young"):
        live.post(RUN, text_input(), headers={"Idempotency-Key": key})
    live.rows(
        "UPDATE skills_idempotentcall c SET created_at = now() - interval '25 hours', lease_until = now() "
        "FROM tenants_apikey k WHERE k.id = c.family_id AND k.tenant_id = %s AND key = 'old' RETURNING 1",
        live.tenant.pk,
    )

    live.do(lambda: idempotency.forget_old(now=clock.now()))

    assert [call["key"] for call in _calls(live)] == ["young"]
