"""All checks in one read-only transaction of one snapshot: traffic that goes on meanwhile is no fault."""

from collections.abc import Iterable

from django.db import connection, transaction

from usage.verification import accounts, closed, costs, events, sealed, upkeep
from usage.verification import journal as books
from usage.verification.findings import Report
from usage.verification.journal import Line


def verify(*, journal: Iterable[Line] | None = None) -> Report:
    """Check the whole ledger and report every row that is not as it must be.

    `journal` are those of an emulator that answered all calls of this ledger. They must be
    read after the calls ended; events still open are not compared.
    """
    report = Report()
    if journal is not None:
        books.prepare(journal)
    with transaction.atomic():
        if not connection.savepoint_ids:  # inside of another transaction its level can no longer be chosen
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        accounts.check(report)
        events.check(report)
        costs.check(report)
        upkeep.check(report)
        sealed.check(report)
        closed.check(report)
        if journal is not None:
            books.compare(report)
    return report
