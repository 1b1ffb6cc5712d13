"""Months are closed once and for good; what comes later is an adjustment in the month that is open then."""

from usage.closing.adjusting import Adjusted, Origin, book_late, of_month
from usage.closing.checking import check
from usage.closing.models import Adjustment, AdjustmentProof, Statement
from usage.closing.months import Standing, close, close_due, standings, statement_of
from usage.closing.proofs import check as check_proofs
from usage.closing.proofs import prove_due
from usage.closing.rerating import Preview, Rerating
from usage.closing.rerating import book as book_rerating
from usage.closing.rerating import preview as preview_rerating

__all__ = [
    "Adjusted",
    "Adjustment",
    "AdjustmentProof",
    "Origin",
    "Preview",
    "Rerating",
    "Standing",
    "Statement",
    "book_late",
    "book_rerating",
    "check",
    "check_proofs",
    "close",
    "close_due",
    "of_month",
    "preview_rerating",
    "prove_due",
    "standings",
    "statement_of",
]
