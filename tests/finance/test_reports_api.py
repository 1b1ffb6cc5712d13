"""Reports over the API: real calls, and what upstream has on its books for them."""

import csv
import io
from datetime import UTC, date, datetime
from uuid import uuid4

import httpx2
import pytest

from tests.skills.gateway import Gateway, Key
from usage import pricing
from usage.pricing import Tokens


def get(key: Key, address: str) -> httpx2.Response:
    return httpx2.get(f"{key.gateway.url}/v1/reports/{address}", headers=key.headers, timeout=20)


def call(key: Key, text: str, *, cached: bool) -> None:
    block = {"type": "text", "text": text, **({"cache_control": {"type": "ephemeral"}} if cached else {})}
    body = {"model": "claude-haiku-4-5", "max_tokens": 50, "messages": [{"role": "user", "content": [block]}]}
    answer = httpx2.post(f"{key.gateway.url}/v1/messages", json=body, headers=key.headers, timeout=20)
    assert answer.status_code == 200, answer.text


def test_a_report_is_what_upstream_billed_at_the_prices(gateway: Gateway) -> None:
    tenant = f"books-{uuid4().hex[:8]}"
    caller = gateway.key(tenant=tenant, name="caller")
    reader = gateway.key(tenant=tenant, name="reader", allowed_verbs=["reports"])
    long = "Alice was beginning to get very tired of sitting by her sister on the bank. " * 400
    for text, cached in ((long, True), (long, True), ("Hello.", False)):
        call(caller, text, cached=cached)
    caller.events()
    book, _ = pricing.candidate(pricing.SHIPPED.read_bytes())
    month = f"{datetime.now(tz=UTC):%Y-%m}"  # noqa: TID251 - the platform's clock runs in another process

    report = get(reader, f"{month}?with=2026-01").json()
    rows = list(csv.DictReader(io.StringIO(get(reader, f"{month}/events.csv").text)))

    usages = [entry["usage"] for entry in caller.billed()]
    classes = ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read")
    costs = [
        book.cost("claude-haiku-4-5", Tokens(*(usage[f"{name}_tokens"] for name in classes)), on=date(2026, 11, 1))
        for usage in usages
    ]
    assert len(usages) == 3
    for name in classes:
        assert report["total"][f"{name}_tokens"] == sum(usage[f"{name}_tokens"] for usage in usages)
    assert report["total"]["cache_read_tokens"] > 0
    assert report["total"]["cost_micros"] == sum(costs) == sum(int(row["cost_micros"]) for row in rows)
    assert [line["sums"] if "sums" in line else line["calls"] for line in report["keys"]] == [3]
    assert report["completeness"]["is_final"] is True
    assert report["compared_with"]["total"]["calls"] == 0
    assert report["compared_with"]["movers"][0]["change_micros"] == sum(costs)
    for name, begins in (("events.xlsx", b"PK"), ("focus.csv", b"BilledCost"), ("statement.pdf", b"%PDF-")):
        answer = get(reader, f"{month}/{name}")
        assert answer.status_code == 200
        assert answer.content.startswith(begins)


@pytest.mark.parametrize("address", ["2026-11", "2026-11/events.csv", "2026-11/statement.pdf"])
def test_only_a_key_that_names_the_verb_reads_reports(gateway: Gateway, address: str) -> None:
    usual = gateway.key()
    narrow = gateway.key(allowed_verbs=["run", "read"])

    for key in (usual, narrow):
        answer = get(key, address)
        assert (answer.status_code, answer.json()["error"]["type"]) == (403, "permission_error")
    assert httpx2.get(f"{gateway.url}/v1/reports/{address}").status_code == 401


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("2026-13", 400),
        ("november", 400),
        ("2026-11?wiht=2026-10", 400),
        ("2026-11?with=x", 400),
        ("2026-11/events.csv?month=1", 400),
        ("2026-11/else.csv", 404),
        ("%00", 400),
        ("2026-11/events.csv/more", 404),
    ],
)
def test_what_cannot_be_reported_is_refused(gateway: Gateway, address: str, status: int) -> None:
    reader = gateway.key(allowed_verbs=["reports"])

    assert get(reader, address).status_code == status


def test_a_report_of_one_tenant_holds_nothing_of_another(gateway: Gateway) -> None:
    mine, theirs = f"mine-{uuid4().hex[:8]}", f"theirs-{uuid4().hex[:8]}"
    caller = gateway.key(tenant=theirs)
    call(caller, "Hello.", cached=False)
    caller.events()
    reader = gateway.key(tenant=mine, allowed_verbs=["reports"])
    month = f"{datetime.now(tz=UTC):%Y-%m}"  # noqa: TID251 - the platform's clock runs in another process

    report = get(reader, month).json()
    rows = get(reader, f"{month}/events.csv").text

    assert (report["tenant"]["slug"], report["total"]["calls"]) == (mine, 0)
    assert caller.public_id not in rows
    assert rows.count("\r\n") == 1
