"""What is sealed is as it was: the chain of each tenant's seals, and every row of a sealed day."""

from usage import seals
from usage.verification.findings import Finding, Report


def check(report: Report) -> None:
    """Check every seal and every sealed row."""
    rows, faults = seals.check()
    report.add("seals", rows=rows, findings=[Finding("seals", one.subject, one.fault) for one in faults])
