"""The statement of a month: of a closed one exactly what was frozen, of an open one a draft from the ledger as it is."""

import importlib
import json
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from tenants.models import Tenant
from usage import closing, reports
from usage.closing import Adjusted, Origin, Statement
from usage.reports import MonthReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What a closed month is proved by; a draft has none."""

    number: int
    sha256: str
    closed_at: datetime
    closed_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a month is charged by: its events, what is adjusted of earlier months, and its statement if it is closed."""

    report: MonthReport
    adjusted: Adjusted
    mark: Mark | None

    @property
    def billed_micros(self) -> int:
        """What is to be charged in all."""
        return self.report.total.billed_micros + self.adjusted.billed_micros


def figures(tenant: Tenant, month: date) -> Figures:
    """Return a month's figures: the frozen ones once it is closed."""
    closed = closing.statement_of(tenant.pk, month)
    if closed is not None:
        return _frozen(closed)
    return Figures(report=reports.month(tenant.pk, month), adjusted=closing.of_month(tenant.pk, month), mark=None)


def render(tenant: Tenant, month: date, *, now: datetime) -> bytes:
    """Render a month's statement as PDF."""
    found = figures(tenant, month)
    # Only now: what draws PDFs occupies 10 MiB in every process that has it.
    drawing = importlib.import_module("usage.exports.statement")
    return bytes(drawing.render(found.report, adjusted=found.adjusted, now=now, mark=found.mark))


def _frozen(closed: Statement) -> Figures:
    content: dict[str, Any] = json.loads(closed.figures)
    return Figures(
        report=reports.thawed(content["report"], tenant_id=closed.tenant_id),
        adjusted=Adjusted(origins=tuple(_origin(one) for one in content["adjustments"])),
        mark=Mark(number=closed.number, sha256=closed.sha256, closed_at=closed.closed_at, closed_by=closed.closed_by),
    )


def _origin(content: dict[str, Any]) -> Origin:
    return Origin(**{**content, "origin_month": date.fromisoformat(f"{content['origin_month']}-01")})
