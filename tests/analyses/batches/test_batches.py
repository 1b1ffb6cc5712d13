"""One skill over many inputs: in order, each item answered or refused by itself, none paid twice."""

import json
from typing import Any

import httpx2
import pytest

from tests import factories
from tests.analyses.conftest import Desk
from tests.live import eventually

pytestmark = pytest.mark.usefixtures("workers")
Row = dict[str, Any]


def item(number: int, *, text: str = "The Hatter is late for tea at six.") -> Row:
    return {"id": f"item-{number}", "input": {"text": f"{number}. {text}", "max_words": 10}}


def submit(desk: Desk, items: list[Row], *, status: int = 202, **terms: Any) -> Row:
    body = {"skill": "summarize", "items": items, **terms}
    return dict(desk.post("batches", body, status=status))


def results(desk: Desk, batch: Row) -> list[Row]:
    answer = httpx2.get(f"{desk.live.base_url}{batch['links']['results']}", headers=desk.live.headers, timeout=30)
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


def ended(desk: Desk, batch: Row, *, state: str = "succeeded") -> Row:
    def look() -> Row | None:
        found = dict(desk.get(f"batches/{batch['id']}"))
        assert state == found["state"] or found["state"] not in ("failed", "cancelled"), found["error"]
        return found if found["state"] == state else None

    return eventually(look, within=120) or {}


def test_every_item_is_answered_in_order_and_paid_once(desk: Desk) -> None:
    batch = submit(desk, [item(number) for number in range(30)], metadata={"case": "42"})
    assert (batch["type"], batch["items"]["total"], batch["metadata"]) == ("batch", 30, {"case": "42"})
    assert batch["estimate"]["calls"] == 30

    done = ended(desk, batch)
    found = results(desk, batch)

    assert done["items"] == {"total": 30, "succeeded": 30, "failed": 0, "pending": 0, "percentage": 100}
    assert [one["id"] for one in found] == [f"item-{number}" for number in range(30)]
    assert all(one["output"] and one["usage"]["attempts"] == 1 for one in found)
    events = desk.live.events()
    assert {one["entry_point"] for one in events} == {"batch"}
    assert len(events) == len(desk.live.journal()) == 30
    assert (done["usage"]["tokens"], done["usage"]["cost_micros"]) == desk.paid()
    assert done["usage"]["tokens"] == desk.journaled() == sum(one["usage"]["tokens"] for one in found)
    assert done["envelope"]["reserved_tokens"] == 0
    names = [one["event"] for one in desk.get(f"batches/{batch['id']}/events")["data"]]
    assert (names[0], names[1], names[-1]) == ("batch.queued", "batch.started", "batch.succeeded")


def test_what_is_wrong_with_one_item_is_that_items(desk: Desk) -> None:
    httpx2.post(
        f"{desk.live.emulator_url}/_emulator/faults", json={"kind": "http_400", "count": 1, "marker": "a fatal wish"}
    )
    refused = item(1, text="This is a fatal wish.")

    done = ended(desk, batch := submit(desk, [item(0), refused, item(2)]))

    assert (done["items"]["succeeded"], done["items"]["failed"]) == (2, 1)
    assert [one["status"] for one in results(desk, batch)] == ["succeeded", "failed", "succeeded"]
    assert results(desk, batch)[1]["error"]["reason"] == "upstream_refused"
    assert done["usage"]["tokens"] == desk.paid()[0] == desk.journaled()


def test_json_lines_are_taken_as_they_stream_in(desk: Desk) -> None:
    body = "\n".join(json.dumps(item(number)) for number in range(3)) + "\n\n"
    options: Row = {
        "params": {"skill": "summarize", "item_max_tokens": 50},
        "headers": {**desk.live.headers, "Content-Type": "application/x-ndjson", "Idempotency-Key": "lines"},
    }

    sent = httpx2.post(f"{desk.live.base_url}/v1/batches", content=body.encode(), **options)
    again = httpx2.post(f"{desk.live.base_url}/v1/batches", content=body.encode(), **options)
    other = httpx2.post(f"{desk.live.base_url}/v1/batches", content=body[1:].encode(), **options)

    assert (sent.status_code, again.status_code, other.status_code) == (202, 202, 422), sent.text
    assert sent.json()["id"] == again.json()["id"]
    ended(desk, sent.json())
    assert len(results(desk, sent.json())) == 3
    assert all(entry["usage"]["output_tokens"] <= 50 for entry in desk.live.journal())


LINE = json.dumps(item(0))
REFUSED = [
    ("", 400, "/items"),
    (f"{LINE}\nnonsense", 400, "line 2"),
    (f"{LINE}\n{LINE}", 400, "/items/1/id"),
    ('{"input": {"text": 5}}', 400, "/items/0/input/text"),
    ('{"id": "x"}', 400, "/items/0"),
    ("[1]", 400, "/items/0"),
    ("\n".join('{"input": {"text": "a"}}' for _ in range(10_001)), 413, ""),
    (json.dumps(item(0, text="x" * 1_100_000)), 413, ""),
]


@pytest.mark.parametrize(("body", "status", "path"), REFUSED, ids=lambda value: str(value)[:20])
def test_a_faulty_line_is_named_and_nothing_is_written(desk: Desk, body: str, status: int, path: str) -> None:
    headers = {**desk.live.headers, "Content-Type": "application/x-ndjson"}

    answer = httpx2.post(
        f"{desk.live.base_url}/v1/batches?skill=summarize", content=body.encode(), headers=headers, timeout=30
    )

    assert answer.status_code == status, answer.text
    assert answer.json()["error"].get("path", "").startswith(path)
    assert desk.get("batches")["data"] == []
    assert desk.live.rows("SELECT id FROM skills_analysisstep") == []


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"skill": "digest"}, "/skill"),
        ({"skill": "summarize", "items": {}}, "/items"),
        ({"skill": "summarize", "surprise": 1}, ""),
        ({"skill": "summarize", "item_max_tokens": 999_999}, ""),
        ({"skill": "summarize", "callback_url": "https://127.0.0.1/"}, "/callback_url"),
    ],
)
def test_terms_that_cannot_be_met_are_refused(desk: Desk, body: Row, path: str) -> None:
    answer = desk.live.post("/v1/batches", {"items": [item(0)], **body})

    assert answer.status_code == 400, answer.text
    assert answer.json()["error"].get("path", "").startswith(path)
    assert desk.get("batches")["data"] == []


def test_a_batch_whose_envelope_is_spent_waits_and_goes_on_with_a_larger_one(desk: Desk) -> None:
    whole = ended(desk, submit(desk, [item(number) for number in range(6)]))["usage"]["tokens"]
    bound = desk.live.rows("SELECT max(reserved_tokens) AS most FROM skills_analysiscall")[0]["most"]

    batch = submit(desk, [item(number) for number in range(6)], max_tokens=bound + whole // 3)
    paused = ended(desk, batch, state="awaiting_budget")

    assert 0 < paused["items"]["succeeded"] < 6
    assert paused["usage"]["tokens"] <= paused["envelope"]["max_tokens"]
    assert {one["status"] for one in results(desk, batch)} == {"succeeded", "pending"}

    desk.post(f"batches/{batch['id']}/resume", {"max_tokens": 10_000_000})
    assert ended(desk, batch)["items"]["succeeded"] == 6
    assert len(desk.live.events()) == 12


def test_the_attempts_of_an_item_take_no_more_than_the_envelope_has(desk: Desk) -> None:
    text = "The line is dead."
    ended(desk, submit(desk, [item(0, text=text)]))
    bound = desk.live.rows("SELECT max(reserved_tokens) AS most FROM skills_analysiscall")[0]["most"]
    unheard = {"kind": "reset", "count": 2, "marker": text}
    httpx2.post(f"{desk.live.emulator_url}/_emulator/faults", json=unheard)

    batch = submit(desk, [item(1, text=text)], max_tokens=2 * bound - 1)
    paused = ended(desk, batch, state="awaiting_budget")

    assert paused["error"]["reason"] == "envelope_spent"
    assert paused["usage"]["tokens"] == bound
    assert paused["envelope"]["reserved_tokens"] == 0

    desk.post(f"batches/{batch['id']}/resume", {"max_tokens": 4 * bound})
    assert bound * 2 < ended(desk, batch)["usage"]["tokens"] <= bound * 3
    assert [one["state"] for one in desk.live.events()] == ["settled", "estimated", "estimated", "settled"]


def test_a_cancelled_batch_keeps_what_is_done_and_spends_no_more(desk: Desk) -> None:
    slowly = "[[emulator:latency:2]] The Hatter is late."
    batch = submit(desk, [item(number, text=slowly) for number in range(40)])
    eventually(lambda: len(desk.live.events()) >= 2, within=60)

    assert desk.post(f"batches/{batch['id']}/cancel")["state"] == "cancelled"
    eventually(lambda: all(one["state"] != "open" for one in desk.live.events()), within=20)

    found = eventually(lambda: settled(desk, batch), within=20)
    assert found["usage"]["tokens"] == desk.paid()[0]
    assert found["items"]["pending"] > 0


def settled(desk: Desk, batch: Row) -> Row:
    found = dict(desk.get(f"batches/{batch['id']}"))
    return {} if found["envelope"]["reserved_tokens"] else found


def test_another_tenants_batch_is_as_absent_as_one_that_never_was(desk: Desk) -> None:
    batch = submit(desk, [item(0)])
    mallory = desk.live.do(lambda: factories.make_key(factories.make_tenant(f"m-{desk.live.tenant.slug}"))).secret
    absent = "bat_" + "0" * 22

    for method, tail in (
        ("GET", ""),
        ("GET", "/events"),
        ("GET", "/results"),
        ("POST", "/cancel"),
        ("POST", "/resume"),
        ("DELETE", ""),
    ):
        answers = [
            httpx2.request(
                method,
                f"{desk.live.base_url}/v1/batches/{name}{tail}",
                headers={"X-API-Key": mallory, "X-Request-ID": "req_same"},
            )
            for name in (batch["id"], absent)
        ]
        assert [one.status_code for one in answers] == [404, 404]
        assert answers[0].json() == answers[1].json()
    assert httpx2.get(f"{desk.live.base_url}/v1/batches", headers={"X-API-Key": mallory}).json()["data"] == []
    desk.get(f"analyses/{batch['id'].replace('bat_', 'ana_')}", status=404)
    ended(desk, batch)
    assert desk.get("analyses")["data"] == []
    assert desk.delete(f"batches/{batch['id']}")["deleted"] is True
    desk.get(f"batches/{batch['id']}", status=404)
    assert desk.paid() != (0, 0)
