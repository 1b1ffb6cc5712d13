"""Kept answers: who gets one, what it costs, and when there is none."""

import asyncio
import json
from dataclasses import replace
from io import StringIO
from typing import Any

import aiohttp
import httpx2
from django.core.management import call_command

from kit import clock
from tenants import keys
from tests import factories
from tests.caching.asking import ECHO, Asked, publish, words
from tests.live import Live, eventually
from tests.skills.listening import listen


def test_the_same_request_again_gets_the_kept_answer_for_nothing(kept: Asked) -> None:
    first, second = kept.post(), kept.post()

    assert [first.status_code, second.status_code] == [200, 200]
    assert second.json()["output"] == first.json()["output"]
    assert first.json()["cache"] == {"hit": False, "outcome": "miss", "age_seconds": None}
    assert second.json()["cache"]["hit"] is True
    assert 0 <= second.json()["cache"]["age_seconds"] < 60
    assert [answer.headers["X-Skillgate-Cache"] for answer in (first, second)] == ["miss", "hit"]
    assert second.json()["usage"]["cost_micros"] == second.json()["usage"]["total_tokens"] == 0
    answer, hit = kept.live.closed_events(2)
    assert (answer["purpose"], hit["purpose"]) == ("answer", "cached")
    assert (hit["state"], hit["charged_tokens"], hit["cost_micros"]) == ("settled", 0, 0)
    assert kept.live.outcomes() == ["complete"]


def test_a_kept_answer_streams_as_the_same_events_with_the_same_text(kept: Asked) -> None:
    body = words(300)

    first = listen(kept.live, f"{ECHO}/stream", body)
    second = listen(kept.live, f"{ECHO}/stream", body)

    assert second.text == first.text == second.data("output")["output"] == first.data("output")["output"]
    assert len(second.text) > 1_000
    assert second.names.count("text") > 1
    assert (set(second.names), second.names[-4:]) == (set(first.names), ["output", "usage", "done", "message"])
    assert [heard.headers["X-Skillgate-Cache"] for heard in (first, second)] == ["miss", "hit"]
    assert [heard.data("run.started")["cache"]["hit"] for heard in (first, second)] == [False, True]
    assert second.data("usage")["cache"]["hit"] is True
    assert kept.live.outcomes() == ["complete"]


def test_a_kept_json_answer_fits_its_schema_as_the_first_did(kept: Asked) -> None:
    schema = {
        "type": "object",
        "properties": {"label": {"type": "string"}},
        "required": ["label"],
        "additionalProperties": False,
    }
    publish(kept.live, policy={"cache": {"ttl_seconds": 60}}, name="tag", output_schema=schema)

    first, second = (kept.live.post("/v1/skills/tag", words()).json() for _ in range(2))

    assert first["output"] == second["output"] == {"label": first["output"]["label"]}
    assert second["cache"]["hit"] is True


def test_a_skill_without_the_policy_keeps_nothing(kept: Asked) -> None:
    publish(kept.live, policy={}, name="plain")

    answers = [kept.live.post("/v1/skills/plain", words()) for _ in range(2)]

    assert [answer.json()["cache"] for answer in answers] == [None, None]
    assert [answer.headers["X-Skillgate-Cache"] for answer in answers] == ["off", "off"]
    assert kept.purposes() == ["answer", "answer"]


def test_whatever_differs_in_the_request_is_another_answer(kept: Asked) -> None:
    kept.post()

    longer = kept.post({**words(), "max_tokens": 399})
    other = kept.post(words(text="Tell me something else."))

    assert [answer.json()["cache"]["hit"] for answer in (longer, other)] == [False, False]


def test_another_key_of_the_tenant_gets_the_answer_and_another_tenant_does_not(kept: Asked, live_uvicorn: Live) -> None:
    kept.post()
    colleague = kept.live.issue_key()

    hit = kept.post(headers={"X-API-Key": colleague.secret})

    assert hit.json()["cache"]["hit"] is True
    stranger = Asked(_in_another_tenant(live_uvicorn))
    assert stranger.post().json()["cache"]["hit"] is False
    assert stranger.purposes() == ["answer"]


def _in_another_tenant(live: Live) -> Live:
    tenant = live.do(lambda: factories.make_tenant(f"{live.tenant.slug}-b"))
    issued = live.do(lambda: factories.make_key(tenant))
    other = replace(live, tenant=tenant, key=issued.secret, public_id=issued.key.public_id)
    publish(other, policy={"cache": {"ttl_seconds": 60}})
    return other


def test_a_new_version_has_answers_of_its_own(kept: Asked) -> None:
    kept.post()

    publish(kept.live, policy={"cache": {"ttl_seconds": 60}}, system="Be brief.")
    newer = eventually(lambda: _of_version(kept, 2), within=10)

    assert newer["cache"]["hit"] is False


def _of_version(kept: Asked, number: int) -> dict[str, dict[str, bool]]:
    answer: dict[str, dict[str, bool]] = kept.post({**words(), "version": number}).json()
    return answer if "cache" in answer else {}


def test_a_revoked_key_gets_401_also_where_an_answer_is_kept(kept: Asked) -> None:
    kept.post()
    issued = kept.live.issue_key()
    assert kept.post(headers={"X-API-Key": issued.secret}).json()["cache"]["hit"] is True

    kept.live.do(lambda: keys.revoke(issued.key, reason="a test", now=clock.now()))

    assert kept.post(headers={"X-API-Key": issued.secret}).status_code == 401
    assert kept.purposes() == ["answer", "cached"]


def test_hits_count_against_the_requests_per_minute(kept: Asked) -> None:
    kept.post()
    slow = {"X-API-Key": kept.live.issue_key(requests_per_minute=2).secret}

    answers = [kept.post(headers=slow) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[1].json()["cache"]["hit"] is True
    assert kept.purposes() == ["answer", "cached", "cached"]


def test_a_hit_needs_no_tokens_of_the_rate_limit_or_the_budget(kept: Asked) -> None:
    kept.post()
    poor = {"X-API-Key": kept.live.issue_key(tokens_per_minute=1, monthly_token_budget=1).secret}

    assert kept.post(headers=poor).json()["cache"]["hit"] is True
    assert kept.post(words(9), headers=poor).status_code == 429


def test_no_cache_asks_anew_and_keeps_the_new_answer_and_no_store_keeps_none(kept: Asked) -> None:
    first = kept.post()

    anew = kept.post(headers={"Cache-Control": "no-cache"})
    private = kept.post(headers={"Cache-Control": "no-store"})
    after = kept.post()

    answers = (first, anew, private, after)
    assert [one.json()["cache"]["outcome"] for one in answers] == ["miss", "refresh", "off", "hit"]
    assert [one.headers["X-Skillgate-Cache"] for one in answers] == ["miss", "refresh", "off", "hit"]
    assert kept.purposes() == ["answer", "answer", "answer", "cached"]


def test_an_answer_that_was_cut_off_is_not_kept(kept: Asked) -> None:
    body = {**words(100), "max_tokens": 5}

    answers = [kept.post(body).json() for _ in range(2)]

    assert [answer["stop_reason"] for answer in answers] == ["max_tokens", "max_tokens"]
    assert [answer["cache"]["hit"] for answer in answers] == [False, False]


def test_a_purge_removes_the_answers_of_one_skill_or_of_all(kept: Asked) -> None:
    publish(kept.live, policy={"cache": {"ttl_seconds": 60}}, name="other")
    paths = (ECHO, "/v1/skills/other")

    def hits() -> list[bool]:
        return [kept.live.post(path, words()).json()["cache"]["hit"] for path in paths]

    def purge(**of: str) -> str:
        said = StringIO()
        kept.live.do(lambda: call_command("purge_response_cache", tenant=kept.live.tenant.slug, stdout=said, **of))
        return said.getvalue()

    assert hits() == [False, False]
    assert purge(skill="echo") == "Removed 1 answer of echo.\n"
    assert hits() == [False, True]
    assert purge() == "Removed 2 answers of all skills.\n"
    assert hits() == [False, False]


def test_a_call_with_an_idempotency_key_keeps_even_an_answer_that_cost_nothing(kept: Asked) -> None:
    kept.post()
    headers = {"Idempotency-Key": "one"}

    first = listen(kept.live, f"{ECHO}/stream", words(), **headers)
    again = listen(kept.live, f"{ECHO}/stream", words(), **headers)

    assert first.data("usage")["cache"]["hit"] is True
    assert again.raw == first.raw
    assert kept.purposes() == ["answer", "cached"]


def test_a_tool_call_gets_kept_answers_too(kept: Asked) -> None:
    kept.post()
    call = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "echo", "arguments": words()["input"]},
    }
    accepts = {"Accept": "application/json, text/event-stream"}

    told = httpx2.post(f"{kept.live.base_url}/mcp", json=call, headers={**kept.live.headers, **accepts}, timeout=30)

    text = told.text if told.text.startswith("{") else told.text.split("data: ")[-1]
    about = json.loads(text)["result"]["_meta"]["skillgate/usage"]
    assert about["cache"]["hit"] is True
    assert kept.purposes() == ["answer", "cached"]


def test_a_socket_gets_kept_answers_and_may_ask_anew(kept: Asked) -> None:
    first = kept.post().json()
    run = {"type": "run", "skill": "echo", **words()}

    said = [_on_a_socket(kept.live, {**run, "id": "a", **more}) for more in ({}, {"cache_control": "no-cache"})]

    assert [one["run.started"]["cache"]["outcome"] for one in said] == ["hit", "refresh"]
    assert said[0]["output"]["output"] == first["output"]
    assert kept.purposes() == ["answer", "cached", "answer"]


def _on_a_socket(live: Live, message: dict[str, Any]) -> dict[str, Any]:
    """Send one message and return the data of each kind of event that came of it."""

    async def ask() -> dict[str, Any]:
        heard: dict[str, Any] = {}
        url = live.base_url.replace("http://", "ws://") + "/v1/ws"
        async with aiohttp.ClientSession() as session, session.ws_connect(url, headers=live.headers) as socket:
            await socket.send_json(message)
            async for frame in socket:
                said = json.loads(frame.data)
                heard[said["event"]] = said["data"]
                if said["event"] in ("done", "error"):
                    break
        return heard

    return asyncio.run(ask())
