"""All checks in one read-only transaction of one snapshot: traffic that goes on meanwhile is no fault."""

from collections.abc import Iterable

from django.db import connection, transaction

from usage.verification import accounts, costs, events, upkeep
from usage.verification.findings import Report
from usage.verification.journal import Line, compare


def verify(*, journal: Iterable[Line] | None = None) -> Report:
    """This function will check the whole ledger and report every row that is not as it must be.

    `journal` holds the lines of an emulator that answered all calls of this ledger. It must be
    read after the calls ended; events still open are not compared.
    """
    report = Report()
    with transaction.atomic():
        if not connection.savepoint_ids:  # inside of another transaction its level can no longer be chosen
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        accounts.check(report)
        events.check(report)
        costs.check(report)
        upkeep.check(report)
        if journal is not None:
            compare(report, list(journal))
    return report
