"""The page, each file, the events and what follows from tokens and prices are one and the same, to the micro-dollar."""

import asyncio
import csv
import io
import re
import zipfile
from collections.abc import Callable
from datetime import UTC, date, datetime
from random import Random
from typing import Any

import pytest

from kit.errors import InvalidRequest, Unavailable
from tests.factories import make_key
from tests.usage.desk import Desk, caller_of, closing_pool, lapse, look, open_desk
from usage import exports, ledger, pricing, reports, rollups
from usage.exports import Kind, Span
from usage.exports.reading import MOST_AT_ONCE
from usage.pricing import Book, Tokens, tariffs

SetClock = Callable[[str], None]
MODELS = ("claude-haiku-4-5", "claude-haiku-5-5", "claude-opus-5-20260101", "claude-sonnet-4-6")
# What a spreadsheet must not run; a key's name is free text.
EVIL = "=HYPERLINK(1)"
# Berlin: both ends of summer time lie within a month's last day or around its end.
INSTANTS = (
    "2026-03-01 00:30:00+01",
    "2026-03-29 01:59:59+01",
    "2026-03-29 03:00:01+02",
    "2026-03-31 23:59:59+02",
    "2026-04-01 00:00:00+02",
    "2026-02-28 23:59:59+01",
)


def export(desk: Desk, kind: Kind, span: Span) -> bytes:
    return b"".join(exports.open_export(desk.tenant, kind, span).pieces)


def table(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode())))


def generate(desk: Desk, set_clock: SetClock, *, random: Random, book: Book) -> None:
    """Calls of every kind: plain, cached, of a dated model, failed, retried, released, lapsed, open, and corrected late."""
    other = caller_of(make_key(desk.tenant, name=EVIL).key)

    async def call(number: int) -> None:
        model = random.choice(MODELS)
        tokens = Tokens(*(random.choice((0, 1, random.randrange(200_000))) for _ in range(5)))
        cost = book.cost(model, tokens, on=date(2026, 3, 1))
        options: dict[str, Any] = {"model": model, "skill": random.choice(("chat", "extract", "")), "micros": cost + 1}
        options["caller"] = random.choice((desk.caller, other))
        asked = await desk.reserve(1_200_000, attempt=1 + number % 3, **options)
        if number % 7 == 0:
            lapse(desk)
            await ledger.sweep()
        if number % 11 == 0:
            await ledger.settle(asked, ledger.Closing("released", error_type="overloaded_error"))
        elif number % 5 or number % 7:
            await ledger.settle(
                asked, ledger.Closing("settled", tokens, cost_micros=cost, error_type=random.choice(("", "x")))
            )

    async def work() -> None:
        for instant in INSTANTS:
            set_clock(instant)
            for number in range(1, 9):
                await call(number)

    asyncio.run(closing_pool(work))


def expected_charge(event: dict[str, Any], *, points: int, own: dict[str, int]) -> int:
    """The rule of charges, written down a second time."""
    if event["model"] == "claude-sonnet-4-6" and own:
        used = sum(event[f"{name}_tokens"] * micros for name, micros in own.items())
        return int((2 * used + 1_000_000) // 2_000_000)
    return int((2 * event["cost_micros"] * (10_000 + points) + 10_000) // 20_000)


@pytest.mark.parametrize("seed", [1, 2])
def test_page_files_events_and_prices_agree_on_generated_calls(prices: None, set_clock: SetClock, seed: int) -> None:
    random, book = Random(seed), pricing.version(1)
    desk = open_desk("acme", timezone="Europe/Berlin", tokens=10**12, key_tokens=10**12)
    own = {
        name: random.randrange(1, 10**7)
        for name in ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read")
    }
    points = random.randrange(-3000, 9000)
    terms = tariffs.Terms(
        effective_from=date(2026, 3, 29),
        source="Contract",
        markup_basis_points=points,
        prices={"claude-sonnet-4-6": own},
    )
    tariffs.load(desk.tenant, terms, now=datetime(2026, 3, 1, tzinfo=UTC))
    generate(desk, set_clock, random=random, book=book)
    events = look("SELECT * FROM usage_event ORDER BY number")
    charge = {
        event["number"]: expected_charge(event, points=points, own=own)
        if event["day"] >= date(2026, 3, 29)
        else event["cost_micros"]
        for event in events
    }

    for month, count in ((date(2026, 2, 1), 8), (date(2026, 3, 1), 32), (date(2026, 4, 1), 8)):
        mine = [event for event in events if event["month"] == month]
        report = reports.month(desk.tenant.pk, month)
        span = Span.of_month(month)
        rows, focus, sheet = (
            table(export(desk, "csv", span)),
            table(export(desk, "focus", span)),
            export(desk, "xlsx", span),
        )

        assert report.completeness.admitted == len(mine) == len(rows) == count
        assert report.completeness.is_gapless
        assert {int(row["number"]): int(row["billed_micros"]) for row in rows} == {
            event["number"]: charge[event["number"]] for event in mine
        }
        for measure in ("cost_micros", "charged_tokens", *reports.TOKEN_CLASSES):
            truth = sum(event[measure] for event in mine)
            assert getattr(report.total, measure) == truth
            assert sum(int(row[measure]) for row in rows) == truth
            for lines in (report.days, report.skills, report.models, report.keys):
                assert sum(getattr(line.sums, measure) for line in lines) == truth
        billed = sum(charge[event["number"]] for event in mine)
        assert report.total.billed_micros == billed
        assert sum(int(row["x_BilledMicros"]) for row in focus) == billed
        assert sum(round(float(row["BilledCost"]) * 10**6) for row in focus) == billed
        assert _sum_of_sheet(sheet, "billed_micros") == billed
    rollups.refresh()
    assert reports.month(desk.tenant.pk, date(2026, 3, 1)).total.calls == sum(
        event["state"] != "open" for event in events if event["month"] == date(2026, 3, 1)
    )
    assert rollups.check() == []
    assert f"'{EVIL}" in {row["key_name"] for row in rows}
    assert b"<f>" not in zipfile.ZipFile(io.BytesIO(sheet)).read("xl/worksheets/sheet1.xml")


def _sum_of_sheet(content: bytes, name: str) -> int:
    text = zipfile.ZipFile(io.BytesIO(content)).read("xl/worksheets/sheet1.xml").decode()
    head, *lines = re.findall(r"<row [^>]*>(.*?)</row>", text)
    names = re.findall(r'<c r="([A-Z]+)1"[^>]*>.*?<t[^>]*>(.*?)</t>', head)
    (column,) = [letters for letters, title in names if title == name]
    return sum(int(value) for line in lines for value in re.findall(rf'<c r="{column}\d+"[^>]*><v>(\d+)</v>', line))


def test_an_export_of_too_long_a_span_is_refused(desk: Desk) -> None:
    with pytest.raises(InvalidRequest):
        exports.open_export(desk.tenant, "csv", Span(date(2020, 1, 1), date(2026, 1, 1)))


def test_only_so_many_exports_run_at_once_and_each_gives_its_place_back(desk: Desk) -> None:
    span = Span.of_month(date(2026, 7, 1))
    open_ones = [exports.open_export(desk.tenant, "csv", span) for _ in range(MOST_AT_ONCE)]
    for one in open_ones[1:]:
        one.pieces.close()
    exports.open_export(desk.tenant, "csv", span).pieces.close()
    again = [exports.open_export(desk.tenant, "csv", span) for _ in range(MOST_AT_ONCE - 1)]

    with pytest.raises(Unavailable):
        exports.open_export(desk.tenant, "csv", span)

    for one in (open_ones[0], *again):
        assert b"".join(one.pieces).startswith(b"number,")
    exports.open_export(desk.tenant, "csv", span).pieces.close()
