"""Trials on the running platform: one line with all calls, so limits, budgets and books are the same."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from django.conf import settings
from django.test import Client

from kit import sse
from kit.sse import ServerSentEvent
from tenants.models import ApiKey, AuditEntry
from tests.console.conftest import member
from tests.factories import make_key, make_tenant
from tests.live import Live, eventually

_SECONDS = 5.0


SignIn = Callable[..., httpx2.Client]


@pytest.fixture
def sign_in(live: Live) -> Iterator[SignIn]:
    """Signs someone of the tenant in at the running server, with the token that its forms carry."""
    with ExitStack() as clients:

        def signed_in(*, role: str = "admin") -> httpx2.Client:
            cookies = {
                settings.SESSION_COOKIE_NAME: live.do(lambda: session_of(live, role)),
                settings.CSRF_COOKIE_NAME: "t" * 32,
            }
            client = httpx2.Client(
                base_url=live.base_url, cookies=cookies, headers={"X-CSRFToken": "t" * 32}, timeout=20
            )
            return clients.enter_context(client)

        yield signed_in


def session_of(live: Live, role: str) -> str:
    client = Client()
    user = member(f"{role}-{live.tenant.slug}", tenant=live.tenant, role=role)
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client.cookies[settings.SESSION_COOKIE_NAME].value


def key_id(live: Live) -> int:
    return live.do(lambda: ApiKey.objects.get(public_id=live.public_id).pk)


def trial(live: Live, *marks: str, **wanted: Any) -> dict[str, str]:
    told = "".join(f"[[emulator:{mark}]]" for mark in marks)
    return {"skill": "summarize", "key": str(key_id(live)), "input.text": f"A short story. {told}", **wanted}


def run(client: httpx2.Client, form: dict[str, str]) -> list[ServerSentEvent]:
    answer = client.post("/admin/playground/run/", data=form)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    return sse.Decoder().feed(answer.content)


def data(events: list[ServerSentEvent], name: str) -> Any:
    return next(json.loads(event.data) for event in events if event.event == name)


def test_a_trial_streams_and_is_booked_on_its_key_like_any_call(live: Live, sign_in: SignIn) -> None:
    events = run(sign_in(), trial(live, "words:30"))

    names = [event.event for event in events]
    (booked,) = live.closed_events(within=_SECONDS)
    assert names[:2] == ["call", "run.started"]
    assert names.count("text") > 1
    assert names[-3:] == ["usage", "done", "message"]
    assert "/v1/skills/summarize/stream" in data(events, "call")["curl"]
    assert data(events, "usage")["total_tokens"] == booked["charged_tokens"]
    used = ApiKey.objects.filter(pk=key_id(live), last_used_at__gte=booked["opened_at"] - timedelta(minutes=1))
    assert eventually(lambda: live.do(used.exists), within=20)
    assert data(events, "usage")["cost_micros"] == booked["cost_micros"]
    assert (booked["entry_point"], booked["state"], booked["key_id"]) == ("playground", "settled", key_id(live))
    assert live.do(lambda: AuditEntry.objects.get(action="playground.run").subject) == live.public_id


def test_a_version_or_a_label_can_be_chosen(live: Live, sign_in: SignIn) -> None:
    client = sign_in()

    by_number = data(run(client, trial(live, at="version:1")), "run.started")
    by_label = data(run(client, trial(live, at="label:production")), "run.started")

    assert (by_number["version"], by_number["label"]) == (1, None)
    assert (by_label["version"], by_label["label"]) == (1, "production")


def test_what_does_not_fit_is_refused_in_the_words_a_caller_gets(live: Live, sign_in: SignIn) -> None:
    form = trial(live, **{"input.max_words": "many"})

    error = data(run(sign_in(), form), "error")

    asked = live.post("/v1/skills/summarize", {"input": {"text": "A short story.", "max_words": "many"}})
    assert asked.status_code == error["status"] == 400
    assert error["error"] == asked.json()["error"]
    assert live.events() == []


def test_the_keys_own_budget_refuses(live: Live, sign_in: SignIn) -> None:
    poor = live.issue_key(monthly_token_budget=1).key.pk

    error = data(run(sign_in(), trial(live, key=str(poor))), "error")

    assert (error["status"], error["error"]["type"]) == (402, "billing_error")
    assert live.events() == []


def test_the_keys_own_scopes_refuse(live: Live, sign_in: SignIn) -> None:
    client = sign_in()
    narrow = live.issue_key(allowed_skills=["translate"]).key.pk
    reader = live.issue_key(allowed_verbs=["read"]).key.pk
    elsewhere = live.issue_key(allowed_networks=["192.0.2.0/24"]).key.pk

    refused = [data(run(client, trial(live, key=str(pk))), "error")["status"] for pk in (narrow, reader, elsewhere)]

    assert refused == [403, 403, 401]
    assert live.events() == []


def test_what_is_absent_foreign_or_no_answer_to_a_call_is_not_found(live: Live, sign_in: SignIn) -> None:
    client = sign_in()
    changes = [
        {"key": str(_foreign_key(live))},
        {"key": "999999"},
        {"key": "1 OR 1=1"},
        {"skill": "nothing"},
        {"skill": "digest"},  # an analysis
        {"at": "version:99"},
        {"at": "label:nowhere"},
    ]

    answers = [client.post("/admin/playground/run/", data=trial(live, **change)) for change in changes]

    assert {answer.status_code for answer in answers} == {404}
    assert {answer.json()["error"]["type"] for answer in answers} == {"not_found_error"}
    assert answers[0].json()["error"] == answers[1].json()["error"]
    assert live.events() == []


def _foreign_key(live: Live) -> int:
    return live.do(lambda: make_key(make_tenant(f"other-{live.tenant.slug[:20]}")).key.pk)


def test_a_revoked_key_is_not_found(live: Live, sign_in: SignIn) -> None:
    form = trial(live)
    live.do(lambda: ApiKey.objects.filter(public_id=live.public_id).update(revoked_at="2026-01-01T00:00Z"))

    assert sign_in().post("/admin/playground/run/", data=form).status_code == 404


def test_who_may_not_spend_spends_nothing(live: Live, sign_in: SignIn) -> None:
    for role in ("viewer", "finance"):
        client = sign_in(role=role)
        assert client.post("/admin/playground/run/", data=trial(live)).status_code == 403
        assert client.get("/admin/playground/").status_code == 403

    assert live.events() == []


def test_a_forged_post_spends_nothing(live: Live, sign_in: SignIn) -> None:
    client = sign_in()
    del client.headers["X-CSRFToken"]

    assert client.post("/admin/playground/run/", data=trial(live)).status_code == 403
    assert live.events() == []


def test_who_stops_ends_the_upstream_call(live: Live, sign_in: SignIn) -> None:
    form = trial(live, "words:400", "chunk_ms:150")

    with sign_in().stream("POST", "/admin/playground/run/", data=form) as answer:
        next(chunk for chunk in answer.iter_bytes() if b"event: text" in chunk)

    (event,) = live.closed_events(within=_SECONDS)
    outcomes = eventually(lambda: [one for one in live.outcomes() if one != "running"], within=_SECONDS)
    assert outcomes == ["client_gone"]
    assert event["state"] == "estimated"
