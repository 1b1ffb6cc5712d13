"""A statement as PDF says what the page says: a draft while the month is open, the frozen figures once it is closed."""

import asyncio
import io
from collections.abc import Callable
from datetime import UTC, date, datetime

from pypdf import PdfReader
from reportlab.lib.styles import ParagraphStyle

from tenants.models import Tenant
from tests.usage.desk import Desk, closing_pool, open_desk, settled
from usage import closing, ledger, reports
from usage.exports import documents, lettering

SetClock = Callable[[str], None]
JULY = date(2026, 7, 1)
NOW = datetime(2026, 8, 20, 12, tzinfo=UTC)


def used(desk: Desk, tokens: int) -> None:
    async def work() -> None:
        await ledger.settle(await desk.reserve(10_000), settled(tokens))

    asyncio.run(closing_pool(work))


def text_of(document: bytes) -> str:
    return "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(document)).pages)


def test_an_open_month_is_a_draft(prices: None, set_clock: SetClock) -> None:
    set_clock("2026-07-15 12:00:00+00")
    desk = open_desk("acme", timezone="Europe/Berlin")
    used(desk, 1234)

    text = text_of(documents.render(desk.tenant, JULY, now=NOW))

    assert "DRAFT: the month is not closed" in text
    assert text.count("$0.001234") >= 6
    assert "numbers 1 to 1 without a gap" in text
    assert "page 1 of" in text
    assert documents.render(desk.tenant, JULY, now=NOW) == documents.render(desk.tenant, JULY, now=NOW)


def test_a_closed_month_keeps_its_figures_its_number_and_its_hash(prices: None, set_clock: SetClock) -> None:
    set_clock("2026-07-15 12:00:00+00")
    desk = open_desk("acme")
    used(desk, 1234)
    before = reports.month(desk.tenant.pk, JULY)
    set_clock("2026-08-20 12:00:00+00")
    closed = closing.close(desk.tenant, month=JULY, actor="fiona")

    found = documents.figures(desk.tenant, JULY)
    text = text_of(documents.render(desk.tenant, JULY, now=NOW))

    assert found.report == before
    assert found.mark is not None
    assert "statement 1, closed" in text
    assert closed.sha256 in text.replace("\n", "")
    assert "by fiona" in text


def test_a_name_that_looks_like_markup_is_shown_as_it_is(prices: None, set_clock: SetClock) -> None:
    set_clock("2026-07-15 12:00:00+00")
    desk = open_desk("acme")
    desk.tenant.name = "<b>A & B</b>"
    desk.tenant.save()
    used(desk, 1)

    assert "<b>A & B</b>" in text_of(documents.render(desk.tenant, JULY, now=NOW))


NAMES = (
    "Łódź Sp. z o.o.",
    "Ελλάδα",
    "Київ",
    "საქართველო",
    "บริษัท",
    "株式会社サンプル",
    "주식회사 예제",
    "示例有限公司",
)


def test_a_name_is_set_in_its_own_script(prices: None) -> None:
    desk = open_desk("acme")
    used(desk, 1)

    for name in NAMES:
        Tenant.objects.update(name=name)
        text = text_of(documents.render(desk.tenant, JULY, now=NOW)).split("Statement for")[0]
        assert text.split() == name.split() or text.replace(" ", "").strip() == name  # marks above letters stand apart
        assert lettering.UNKNOWN not in text


def test_a_word_of_arabic_is_shaped_and_words_go_leftward() -> None:
    assert lettering._in_order_of_sight("Al شركة النور Ltd") == "Al النور شركة Ltd"
    style = ParagraphStyle("any", fontName="Helvetica-Bold")
    assert lettering.paragraph("شركة", style).style.fontName == "FiraGO-Bold"


def test_a_letter_that_no_font_has_is_seen_to_be_absent(prices: None) -> None:
    desk = open_desk("acme")
    Tenant.objects.update(name="Հայ <i>Co</i>")
    used(desk, 1)

    text = text_of(documents.render(desk.tenant, JULY, now=NOW))

    assert text.startswith("▯▯▯ <i>Co</i>")
    assert "▯ stands for a letter that no font was at hand for" in text
