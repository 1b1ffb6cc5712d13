"""Closed months are as they were: statements numbered without a gap, signed, and made of what is still there."""

from usage import closing
from usage.verification.findings import Finding, Report


def check(report: Report) -> None:
    """Check every statement and what it was made of."""
    rows, faults = closing.check()
    report.add("statements", rows=rows, findings=[Finding("statements", subject, fault) for subject, fault in faults])
    rows, faults = closing.check_proofs()
    report.add("adjustments", rows=rows, findings=[Finding("adjustments", subject, fault) for subject, fault in faults])
