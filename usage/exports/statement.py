"""A tenant's month as a document to keep: the figures of its report, how complete they are, and what proves them."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from io import BytesIO
from typing import Any
from zoneinfo import ZoneInfo

from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

from kit import money
from usage.closing import Adjusted
from usage.exports import lettering
from usage.exports.documents import Mark
from usage.reports import TOKEN_CLASSES, Line, MonthReport, Sums

_INK, _SOFT, _RULE, _ACCENT = (colors.HexColor(code) for code in ("#16202c", "#5a6675", "#d5dbe2", "#0d6b6b"))
_MARGIN = 18 * mm
_PADDING = 6  # of ReportLab's frames
_WIDTH = A4[0] - 2 * _MARGIN - 2 * _PADDING
_BODY = ParagraphStyle("body", fontName="Helvetica", fontSize=9, leading=12.5, textColor=_INK)
_SMALL = ParagraphStyle("small", parent=_BODY, fontSize=7.5, leading=10.5, textColor=_SOFT)
_TITLE = ParagraphStyle("title", parent=_BODY, fontName="Helvetica-Bold", fontSize=18, leading=23)
_HEADING = ParagraphStyle(
    "heading", parent=_BODY, fontName="Helvetica-Bold", fontSize=11, leading=15, spaceBefore=12, spaceAfter=4
)
_CELL = ParagraphStyle("cell", parent=_BODY, fontSize=8, leading=10.5)
_CHARGED, _HASH = "To be charged", "SHA-256 of the figures"
_FACT_STYLES = {
    _CHARGED: ParagraphStyle("charged", parent=_CELL, fontName="Helvetica-Bold"),
    _HASH: ParagraphStyle("hash", parent=_CELL, fontName="Courier", fontSize=7.5),
}
_CLASS_NAMES = ("Input", "Output", "Cache writes, 5 minutes", "Cache writes, 1 hour", "Cache reads")
_RULES = (
    "Cost is the provider's list price of each event; charge is what the tenant's tariff makes of it. Each event is a whole"
    " number of micro-dollars, rounded half up once; every sum above is the sum of its events. Estimated events are those"
    " whose exact use is not known: they are charged at a bound that is never below it, and corrected when it becomes known."
    " Days and the month are those of the tenant's time zone."
)


def render(report: MonthReport, *, adjusted: Adjusted, now: datetime, mark: Mark | None = None) -> bytes:
    """Render a statement as PDF; without a mark it says on every page that it is a draft."""
    file = BytesIO()
    title = f"Statement {report.month:%Y-%m} for {report.name}"
    document = SimpleDocTemplate(
        file,
        pagesize=A4,
        leftMargin=_MARGIN,
        rightMargin=_MARGIN,
        topMargin=16 * mm,
        bottomMargin=20 * mm,
        title=title,
        author="Skillgate",
        invariant=1,
    )
    foot = f"{report.slug} · {report.month:%Y-%m} · {_standing(mark)}"
    document.build(
        _story(report, adjusted=adjusted, now=now, mark=mark),
        canvasmaker=lambda *args, **kw: _Numbered(foot, *args, **kw),
    )
    return file.getvalue()


class _Numbered(Canvas):  # type: ignore[misc]  # ReportLab has no types
    """Pages that know how many there are: they are drawn when the last one is done."""

    def __init__(self, foot: str, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._foot = foot
        self._done: list[dict[str, Any]] = []

    def showPage(self) -> None:  # noqa: N802 - ReportLab's name
        """Keep a page until the number of pages is known."""
        self._done.append(dict(self.__dict__))
        self._startPage()

    def save(self) -> None:
        """Write the pages with their feet."""
        for state in self._done:
            self.__dict__.update(state)
            self.setFont("Helvetica", 7.5)
            self.setFillColor(_SOFT)
            self.drawString(_MARGIN + _PADDING, 11 * mm, self._foot)
            self.drawRightString(A4[0] - _MARGIN - _PADDING, 11 * mm, f"page {self._pageNumber} of {len(self._done)}")
            super().showPage()
        super().save()


def _standing(mark: Mark | None) -> str:
    return f"statement {mark.number}, closed" if mark else "DRAFT: the month is not closed"


def _story(report: MonthReport, *, adjusted: Adjusted, now: datetime, mark: Mark | None) -> list[Flowable]:
    return [
        lettering.paragraph(report.name, _TITLE),
        Paragraph(f"Statement for {report.month:%B %Y} · {_standing(mark)}", _BODY),
        Spacer(1, 4 * mm),
        _facts(report, adjusted=adjusted, now=now, mark=mark),
        Paragraph("Tokens by class", _HEADING),
        _classes(report.total),
        *_adjustments(adjusted),
        *_part("By model", report.models),
        *_part("By skill", report.skills),
        *_part("By key", report.keys),
        *_part("By day", report.days),
        Paragraph("How complete this is", _HEADING),
        Paragraph(_completeness(report), _BODY),
        Spacer(1, 3 * mm),
        Paragraph(_RULES, _SMALL),
        *_letters(report, adjusted),
    ]


def _letters(report: MonthReport, adjusted: Adjusted) -> list[Flowable]:
    lines = (*report.models, *report.skills, *report.keys)
    texts = [report.name, *(line.title for line in lines), *(one.reason for one in adjusted.origins)]
    return [lettering.paragraph(note, _SMALL) for note in lettering.notes(texts)]


def _facts(report: MonthReport, *, adjusted: Adjusted, now: datetime, mark: Mark | None) -> Table:
    zone = ZoneInfo(report.timezone)
    total = report.total
    rows = [
        (_CHARGED, _dollars(total.billed_micros + adjusted.billed_micros)),
        *_split(total, adjusted),
        ("Cost at the provider's prices", _dollars(total.cost_micros)),
        ("Calls", f"{total.calls:,}, of which {total.errors:,} with an error"),
        ("Estimated part of the cost", f"{_dollars(total.estimated_micros)} ({total.estimated_share * 100:.2f} %)"),
        ("Tenant and time zone", f"{report.slug}, {report.timezone}"),
        ("Made on", _moment(now, zone)),
    ]
    if total.unpriced_calls:
        rows.append(
            ("Without a price of their own", f"{total.unpriced_calls:,} calls, {_dollars(total.unpriced_micros)}")
        )
    if mark:
        rows += [
            ("Closed", f"{_moment(mark.closed_at, zone)} by {mark.closed_by}"),
            (_HASH, mark.sha256),
        ]
    cells = [
        [Paragraph(name, _CELL), lettering.paragraph(value, _FACT_STYLES.get(name, _CELL))] for name, value in rows
    ]
    table = Table(cells, colWidths=[50 * mm, _WIDTH - 50 * mm])
    table.setStyle(
        TableStyle([("LINEBELOW", (0, 0), (-1, -1), 0.4, _RULE), ("LEFTPADDING", (0, 0), (0, -1), 0), *_TIGHT])
    )
    return table


def _split(total: Sums, adjusted: Adjusted) -> list[tuple[str, str]]:
    if not adjusted.origins:
        return []
    return [
        ("of it for this month's events", _dollars(total.billed_micros)),
        ("of it adjustments of earlier months", _dollars(adjusted.billed_micros)),
    ]


def _adjustments(adjusted: Adjusted) -> list[Flowable]:
    if not adjusted.origins:
        return []
    rows = [
        (
            f"{one.kind} of {one.origin_month:%B %Y}: {one.reason}",
            f"{one.adjustments:,}",
            f"{one.charged_tokens:,}",
            _dollars(one.cost_micros),
            _dollars(one.billed_micros),
        )
        for one in adjusted.origins
    ]
    return [
        Paragraph("Adjustments of earlier months", _HEADING),
        _table(("", "Events", "Tokens", "Cost", "Charge"), rows, widths=_WIDTHS, has_total=False),
    ]


_WIDTHS = (58 * mm, 18 * mm, 32 * mm, 30 * mm, _WIDTH - 138 * mm)
_TIGHT = [
    ("TOPPADDING", (0, 0), (-1, -1), 2.2),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 2.2),
    ("VALIGN", (0, 0), (-1, -1), "TOP"),
]


def _classes(total: Sums) -> Table:
    rows = [(name, f"{getattr(total, column):,}") for name, column in zip(_CLASS_NAMES, TOKEN_CLASSES, strict=True)]
    return _table(
        ("Class", "Tokens"), [*rows, ("All", f"{total.charged_tokens:,}")], widths=(60 * mm, 40 * mm), has_total=True
    )


def _part(title: str, lines: Sequence[Line]) -> list[Flowable]:
    rows = [_line(line.title, line.sums) for line in lines]
    total = sum((line.sums for line in lines), Sums())
    table = _table(
        ("", "Calls", "Tokens", "Cost", "Charge"), [*rows, _line("All", total)], widths=_WIDTHS, has_total=True
    )
    return [Paragraph(title, _HEADING), table]


def _line(title: str, sums: Sums) -> tuple[str, ...]:
    return (
        title,
        f"{sums.calls:,}",
        f"{sums.charged_tokens:,}",
        _dollars(sums.cost_micros),
        _dollars(sums.billed_micros),
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, widths: Sequence[float], has_total: bool) -> Table:
    cells = [list(head), *([lettering.paragraph(row[0], _CELL), *row[1:]] for row in rows)]
    table = Table(cells, colWidths=list(widths), repeatRows=1, hAlign="LEFT")
    style = [
        ("FONT", (0, 0), (-1, 0), "Helvetica-Bold", 8),
        ("FONT", (0, 1), (-1, -1), "Helvetica", 8),
        ("TEXTCOLOR", (0, 0), (-1, -1), _INK),
        ("ALIGN", (1, 0), (-1, -1), "RIGHT"),
        ("LINEBELOW", (0, 0), (-1, 0), 0.8, _ACCENT),
        ("LINEBELOW", (0, 1), (-1, -1), 0.3, _RULE),
        ("LEFTPADDING", (0, 0), (0, -1), 0),
        *_TIGHT,
    ]
    if has_total:
        style += [("FONT", (1, -1), (-1, -1), "Helvetica-Bold", 8), ("LINEABOVE", (0, -1), (-1, -1), 0.8, _ACCENT)]
    table.setStyle(TableStyle(style))
    return table


def _completeness(report: MonthReport) -> str:
    found = report.completeness
    if found.first_number is None:
        return "No event was admitted in this month."
    gap = "without a gap" if found.is_gapless else f"<b>with {found.missing:,} missing</b>"
    return (
        f"{found.admitted:,} events were admitted, numbers {found.first_number:,} to {found.last_number:,} {gap}:"
        f" {found.settled:,} settled, {found.estimated:,} estimated, {found.released:,} released without use,"
        f" {found.open:,} still open."
    )


def _moment(at: datetime, zone: ZoneInfo) -> str:
    return f"{at.astimezone(zone):%-d %B %Y, %H:%M} ({zone.key})"


def _dollars(micros: int) -> str:
    whole, _, part = money.decimal(abs(micros)).partition(".")
    return f"{'-' if micros < 0 else ''}${int(whole):,}.{part}"
