"""One tenant with every kind of use: its page, its files, its events and upstream's journal at the prices are one and the same."""

import csv
import io
import math
import tomllib
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

import httpx2
import pytest

from kit import clock
from tests.analyses.batches.test_batches import ended, item, submit
from tests.analyses.conftest import Desk
from tests.caching.asking import publish
from usage import exports, pricing, reports, rollups
from usage.exports import Span
from usage.pricing import tariffs

Row = dict[str, Any]
FAST, BALANCED = "claude-haiku-4-5", "claude-sonnet-5"
CLASSES = ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read")
OWN = {
    "input": 1_100_001,
    "output": 5_500_003,
    "cache_write_5m": 1_400_007,
    "cache_write_1h": 2_200_009,
    "cache_read": 110_011,
}
MARKUP = 1_250
LONG = "Alice was beginning to get very tired of sitting by her sister on the bank. " * 400


@pytest.mark.usefixtures("workers")
def test_every_kind_of_use_sums_to_the_same(desk: Desk) -> None:
    live, today = desk.live, desk.live.do(lambda: reports_day(desk))
    terms = tariffs.Terms(effective_from=today, source="Contract", markup_basis_points=MARKUP, prices={FAST: OWN})
    live.do(lambda: tariffs.load(live.tenant, terms, now=clock.now()))

    use_all_kinds(desk)

    events = live.events()
    assert {event["purpose"] for event in events} == {"answer", "classify", "repair", "cached"}
    assert {event["state"] for event in events} == {"settled", "released", "estimated"}
    assert {event["service_tier"] for event in events} >= {"batch", "standard"}
    assert any(event["route"].startswith("fallback from") for event in events)
    assert any(event["attempt"] > 1 for event in events)
    assert sum(event["cache_read_tokens"] for event in events) > 0

    assert_costs_are_the_journals(events, live.journal())
    billed = sum(charge(event) for event in events)
    cost = sum(event["cost_micros"] for event in events)
    for _ in ("not all of it rolled", "all of it rolled"):
        report = live.do(lambda: reports.month(live.tenant.pk, today))
        rows, focus = (table(desk, kind, today) for kind in ("csv", "focus"))
        assert (report.total.cost_micros, report.total.billed_micros) == (cost, billed)
        assert report.completeness.is_gapless
        assert [int(row["billed_micros"]) for row in rows] == [charge(event) for event in events]
        assert sum(int(row["cost_micros"]) for row in rows) == sum(int(row["x_CostMicros"]) for row in focus) == cost
        assert sum(Decimal(row["BilledCost"]) for row in focus) == Decimal(billed) / 10**6
        for lines in (report.days, report.skills, report.models, report.keys):
            assert sum(line.sums.billed_micros for line in lines) == billed
        for name in reports.TOKEN_CLASSES:
            assert getattr(report.total, name) == sum(event[name] for event in events)
        live.do(rollups.refresh)


def reports_day(desk: Desk) -> date:
    """The tenant's present day, by the database's clock."""
    day: date = desk.live.rows(
        "SELECT (usage_clock() AT TIME ZONE timezone)::date AS day FROM tenants_tenant WHERE id = %s",
        desk.live.tenant.pk,
    )[0]["day"]
    return day


def use_all_kinds(desk: Desk) -> None:
    """Plain and cached prompts, a batch, a classifier, an answer from the cache, a fallback, a repair, a cut stream."""
    live = desk.live
    block = {"type": "text", "text": LONG, "cache_control": {"type": "ephemeral"}}
    said = {"model": FAST, "max_tokens": 50, "messages": [{"role": "user", "content": [block]}]}
    for _ in range(2):
        desk.post("messages", said)
    ended(desk, submit(desk, [item(number) for number in range(3)], processing="bulk"))
    live.do(rollups.refresh)
    publish(live, name="routed", policy={"routing": {"kind": "by_classifier"}, "cache": {"ttl_seconds": 600}})
    for _ in range(2):
        desk.post("skills/routed", {"input": {"text": "A moderate matter."}})
    publish(live, name="backed", policy={"fallbacks": [FAST]}, model="balanced")
    fault = {"kind": "http_529", "marker": "a heavy load", "models": [BALANCED]}
    httpx2.post(f"{live.emulator_url}/_emulator/faults", json=fault).raise_for_status()
    desk.post("skills/backed", {"input": {"text": "Bear a heavy load."}})
    schema = {
        "type": "object",
        "required": ["code"],
        "properties": {"code": {"type": "string", "pattern": "^[0-9]{9}$"}},
    }
    live.post("/v1/skills/extract", {"input": {"text": "No code at all here.", "schema": schema}})
    live.post(
        "/v1/completions", {"messages": [{"role": "user", "content": "[[emulator:drop:3]] Go on."}], "max_tokens": 60}
    )
    live.closed_events(len(live.events()), within=20)


def assert_costs_are_the_journals(events: list[Row], journal: list[Row]) -> None:
    """Each settled event is one line of the journal, token for token, and costs what the price file makes of it."""
    lines = {line["client_reference"]: line for line in journal}
    for event in events:
        line = lines.get(str(event["id"]))
        if event["purpose"] == "cached":
            assert line is None
            assert event["cost_micros"] == 0
        elif event["state"] == "settled":
            assert line is not None
            usage = {name: line["usage"][f"{name}_tokens"] for name in CLASSES}
            assert usage == {name: event[f"{name}_tokens"] for name in CLASSES}
            assert event["cost_micros"] == priced(event["model"], usage, is_batch=line["service_tier"] == "batch")
        elif event["state"] == "estimated":
            assert event["charged_tokens"] >= (sum(line["usage"].values()) if line else 0)
        else:
            assert event["cost_micros"] == 0


def priced(model: str, usage: dict[str, int], *, is_batch: bool) -> int:
    """The price file read a second time, without the platform's own book."""
    entries = tomllib.loads(pricing.SHIPPED.read_text())["price"]
    length = sum(usage.values()) - usage["output"]
    known = [one for one in entries if one["model"] == model and one.get("prompt_from", 0) <= length]
    entry = max(known, key=lambda one: (one["effective_from"], one.get("prompt_from", 0)))
    exact: Fraction = sum((Fraction(entry[name]) * tokens for name, tokens in usage.items()), Fraction(0))
    return math.floor(exact / (2 if is_batch else 1) + Fraction(1, 2))


def charge(event: Row) -> int:
    """The tariff, written down a second time: own prices for one model, a markup on all others."""
    if event["model"] == FAST:
        return int((sum(event[f"{name}_tokens"] * OWN[name] for name in CLASSES) + 500_000) // 1_000_000)
    return int((event["cost_micros"] * (10_000 + MARKUP) + 5_000) // 10_000)


def table(desk: Desk, kind: exports.Kind, day: date) -> list[Row]:
    """An export of the month, read again."""

    def read() -> bytes:
        return b"".join(exports.open_export(desk.live.tenant, kind, Span.of_month(day)).pieces)

    return list(csv.DictReader(io.StringIO(desk.live.do(read).decode())))
