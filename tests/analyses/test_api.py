"""Analyses over HTTP: what is refused, what is shown, what is told as it goes, and what is gone when it is deleted."""

import json
from datetime import datetime
from typing import Any

import httpx2
import pytest
from websockets.sync.client import connect

from kit import ids, sse
from tests import factories
from tests.analyses.book import book
from tests.analyses.conftest import Desk

pytestmark = pytest.mark.usefixtures("workers")
TEXT = "The Hatter is late for tea at six. The Dormouse sleeps in the teapot until then."


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"skill": "summarize", "text": TEXT}, "/skill"),
        ({"skill": "digest"}, "/documents"),
        ({"skill": "digest", "text": TEXT, "input": {"max_words": "many"}}, "/input/max_words"),
        ({"skill": "question-set", "text": TEXT}, "/input/questions"),
        ({"skill": "digest", "text": TEXT, "output_schema": {"type": "object", "properties": 5}}, "/output_schema"),
        ({"skill": "digest", "text": TEXT, "max_tokens": 0}, "/max_tokens"),
        ({"skill": "digest", "text": TEXT, "callback_url": "https://127.0.0.1/hook"}, "/callback_url"),
        ({"skill": "digest", "text": TEXT, "callback_url": "ftp://example.com/"}, "/callback_url"),
        ({"skill": "digest", "text": TEXT, "colour": "red"}, ""),
    ],
)
def test_what_cannot_be_done_is_refused_and_nothing_is_written(desk: Desk, body: dict[str, Any], path: str) -> None:
    answer = desk.live.post("/v1/analyses", body)

    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["path"].startswith(path)
    assert desk.get("analyses")["data"] == []
    assert desk.get("webhooks")["data"] == []


def test_events_are_streamed_and_continue_after_the_last_one_seen(desk: Desk, leaflet: str) -> None:
    submitted = desk.submit({"skill": leaflet, "text": book(pages=6)})
    seen = stream(desk, submitted["id"])
    names = [event.event for event in seen]

    assert names[:2] == ["analysis.queued", "analysis.started"]
    assert names[-1] == "analysis.succeeded"
    progress = [json.loads(event.data) for event in seen if event.event == "analysis.progress"]
    assert [one["steps_done"] for one in progress] == list(range(1, len(progress) + 1))
    assert [one["percentage"] for one in progress] == sorted(one["percentage"] for one in progress)
    assert progress[-1]["used_tokens"] == desk.get(f"analyses/{submitted['id']}")["usage"]["tokens"]
    found = [json.loads(event.data) for event in seen if event.event == "analysis.findings"]
    assert all(one["quote"] in book(pages=6) for event in found for one in event["findings"])

    rest = stream(desk, submitted["id"], after=seen[3].id)
    assert [event.id for event in rest] == [event.id for event in seen[4:]]


def test_a_socket_says_the_same_as_the_stream(desk: Desk, leaflet: str) -> None:
    submitted = desk.submit({"skill": leaflet, "text": book(pages=3)})
    streamed = stream(desk, submitted["id"])

    heard = listen(desk, {"analysis_id": submitted["id"]})
    rest = listen(desk, {"analysis_id": submitted["id"], "last_event_id": heard[2]["event_id"]})

    assert [(one["event"], one["event_id"], one["data"]) for one in heard[:-1]] == [
        (event.event, event.id, json.loads(event.data)) for event in streamed
    ]
    assert heard[-1]["data"] == {"analysis_id": submitted["id"]}
    assert rest == heard[3:]
    for unknown in ("ana_" + "0" * 22, "nonsense"):
        (refused,) = listen(desk, {"analysis_id": unknown})
        assert refused["data"]["error"]["type"] == "not_found_error"


def listen(desk: Desk, wish: dict[str, Any]) -> list[dict[str, Any]]:
    url = f"{desk.live.base_url.replace('http', 'ws', 1)}/v1/ws"
    heard: list[dict[str, Any]] = []
    with connect(url, additional_headers=desk.live.headers) as socket:
        socket.send(json.dumps({"type": "follow", "id": "f", **wish}))
        while not heard or heard[-1]["event"] not in ("done", "error"):
            heard.append(json.loads(socket.recv(timeout=60)))
    return heard


def stream(desk: Desk, analysis_id: str, *, after: str | None = None) -> list[sse.ServerSentEvent]:
    headers = {**desk.live.headers, "Accept": "text/event-stream", **({"Last-Event-ID": after} if after else {})}
    url = f"{desk.live.base_url}/v1/analyses/{analysis_id}/events"
    with httpx2.stream("GET", url, headers=headers, timeout=60) as answer:
        raw = answer.read()
    assert raw.endswith(b"data: [DONE]\n\n")
    return sse.Decoder().feed(raw)[:-1]


def test_findings_are_merged_as_a_tree_and_still_cite_the_source(desk: Desk, leaflet: str) -> None:
    text = book(pages=90)
    done = desk.wait(desk.submit({"skill": leaflet, "text": text})["id"], within=120)

    levels = {one["level"] for one in desk.calls(done["id"])}
    result = desk.result(done["id"])

    assert len(levels) >= 3
    assert result["citations"]
    assert all(text[one["start"] : one["end"]] == one["quote"] for one in result["citations"])


def test_another_tenants_analysis_is_as_absent_as_one_that_never_was(desk: Desk) -> None:
    submitted = desk.submit({"skill": "digest", "text": TEXT})
    mallory = desk.live.do(lambda: factories.make_key(factories.make_tenant(f"m-{desk.live.tenant.slug}"))).secret
    absent = "ana_" + "0" * 22

    for method, tail in (
        ("GET", ""),
        ("GET", "/events"),
        ("GET", "/result"),
        ("POST", "/cancel"),
        ("POST", "/resume"),
        ("DELETE", ""),
    ):
        answers = [
            httpx2.request(
                method,
                f"{desk.live.base_url}/v1/analyses/{name}{tail}",
                headers={"X-API-Key": mallory, "X-Request-ID": "req_same"},
            )
            for name in (submitted["id"], absent)
        ]
        assert [one.status_code for one in answers] == [404, 404]
        assert answers[0].json() == answers[1].json()
    assert httpx2.get(f"{desk.live.base_url}/v1/analyses", headers={"X-API-Key": mallory}).json()["data"] == []
    desk.wait(submitted["id"])


def test_deleting_takes_the_content_and_leaves_the_ledger(desk: Desk) -> None:
    submitted = desk.submit({"skill": "digest", "text": TEXT, "metadata": {"case": "42"}})
    desk.wait(submitted["id"])
    paid = desk.paid()

    assert desk.delete(f"analyses/{submitted['id']}")["deleted"] is True

    desk.get(f"analyses/{submitted['id']}", status=404)
    assert desk.get("analyses")["data"] == []
    assert desk.paid() == paid != (0, 0)
    for table in ("skills_analysisdocument", "skills_analysisstep", "skills_analysisevent"):
        query = f"SELECT count(*) FROM {table} t JOIN skills_analysis a ON a.id = t.analysis_id WHERE a.tenant_id = %s"
        assert desk.live.rows(query, desk.live.tenant.pk)[0]["count"] == 0
    kept = desk.live.rows(
        "SELECT result, metadata, instructions FROM skills_analysis WHERE tenant_id = %s", desk.live.tenant.pk
    )
    assert kept == [{"result": None, "metadata": {}, "instructions": ""}]


def test_content_is_kept_for_as_long_as_the_tenant_says_and_the_ledger_for_good(desk: Desk) -> None:
    from skills.analyses import dispatch, worker
    from tenants.models import Tenant

    old, new = (desk.submit({"skill": "digest", "text": TEXT})["id"] for _ in range(2))
    desk.wait(old)
    desk.wait(new)
    paid = desk.paid()
    desk.live.do(lambda: Tenant.objects.filter(pk=desk.live.tenant.pk).update(retention_days=7))
    query = "UPDATE skills_analysis SET created_at = now() - interval '8 days' WHERE id = %s RETURNING id"
    desk.live.rows(query, ids.decode("ana", old))

    assert desk.live.do(lambda: worker.run(dispatch.delete_expired)) == 1

    desk.get(f"analyses/{old}", status=404)
    assert desk.result(new)["citations"]
    left = "SELECT 1 FROM skills_analysisdocument WHERE analysis_id = %s"
    assert desk.live.rows(left, ids.decode("ana", old)) == []
    assert desk.paid() == paid != (0, 0)
    shown = desk.get(f"analyses/{new}")
    kept = datetime.fromisoformat(shown["expires_at"]) - datetime.fromisoformat(shown["created_at"])
    assert kept.days == 7


def test_the_list_goes_by_state_and_page(desk: Desk) -> None:
    made = [desk.submit({"skill": "digest", "text": TEXT})["id"] for _ in range(3)]
    for one in made:
        desk.wait(one)

    first = desk.get("analyses?limit=2&state=succeeded")
    second = desk.get(f"analyses?limit=2&after={first['next']}")

    assert [one["id"] for one in first["data"] + second["data"]] == made[::-1]
    assert (first["has_more"], second["has_more"]) == (True, False)
    assert desk.get("analyses?state=failed")["data"] == []
    desk.get("analyses?state=odd", status=400)


@pytest.mark.parametrize(
    ("skill", "given"),
    [
        ("contract-review", {"party": "the tenant"}),
        ("compare", {"aspects": ["tea"]}),
        ("question-set", {"questions": ["Who is late?"]}),
        (
            "extract-table",
            {
                "rows_are": "a person",
                "row": {
                    "type": "object",
                    "properties": {"name": {"type": "string"}},
                    "required": ["name"],
                    "additionalProperties": False,
                },
            },
        ),
    ],
)
def test_every_built_in_analysis_answers_in_its_form(desk: Desk, skill: str, given: dict[str, Any]) -> None:
    documents = [{"name": "one", "text": TEXT}, {"name": "two", "text": TEXT.replace("six", "seven")}]

    done = desk.wait(desk.submit({"skill": skill, "documents": documents, "input": given})["id"])
    result = desk.result(done["id"])

    assert result["citations"]
    assert {one["document_name"] for one in result["citations"]} <= {"one", "two"}
    assert result["output"]


def test_a_callers_own_schema_shapes_the_answer(desk: Desk) -> None:
    schema = {
        "type": "object",
        "properties": {"mood": {"enum": ["calm", "hurried"]}},
        "required": ["mood"],
        "additionalProperties": False,
    }

    done = desk.wait(desk.submit({"skill": "digest", "text": TEXT, "output_schema": schema})["id"])

    output = desk.result(done["id"])["output"]
    assert output["mood"] in ("calm", "hurried")
    assert set(output) == {"mood", "sources"}


def test_a_retry_with_the_same_key_is_the_same_analysis(desk: Desk) -> None:
    def send(text: str) -> httpx2.Response:
        return httpx2.post(
            f"{desk.live.base_url}/v1/analyses",
            data={"skill": "digest"},
            files={"file": ("tea.txt", text.encode(), "text/plain")},
            headers={**desk.live.headers, "Idempotency-Key": "the-same-tea"},
        )

    first, again, other = send(TEXT), send(TEXT), send("Another text altogether.")

    assert (first.status_code, again.status_code, other.status_code) == (202, 202, 422)
    assert first.json()["id"] == again.json()["id"]
    assert len(desk.get("analyses")["data"]) == 1
    desk.wait(first.json()["id"])
