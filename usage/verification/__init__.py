"""Whether the ledger is true: every invariant looked up in the rows themselves, read only, at one instant."""

from usage.verification.findings import Finding, Report
from usage.verification.journal import read as read_journal
from usage.verification.records import announce, latest, recent, record
from usage.verification.repair import repair
from usage.verification.verify import verify

__all__ = ["Finding", "Report", "announce", "latest", "read_journal", "recent", "record", "repair", "verify"]
