"""`manage.py verify_ledger`: is the ledger true? Exit code 0 if it is, 1 if anything was found."""

import json
import sys
from typing import Any

from django.core.management.base import CommandError, CommandParser

from kit import clock, commands
from kit.errors import InvalidRequest
from usage import verification
from usage.verification import Report


class Command(commands.Command):
    """Check every invariant of the ledger in its rows."""

    help = "Check the ledger's invariants row by row; exits with 1 if anything is not as it must be."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("--journal", help="URL of the emulator, or its journal file, that answered all calls")
        parser.add_argument("--record", action="store_true", help="keep the result, as the nightly check does")
        parser.add_argument("--json", action="store_true", help="print one JSON object")
        parser.add_argument(
            "--repair", action="store_true", help="put right counters, rollups and partitions; never events"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Run the command."""
        started_at = clock.now()
        report, repaired = _verified(options["journal"]), []
        if options["repair"] and not report.is_true:
            repaired = verification.repair(report, now=clock.now())
            report = _verified(options["journal"])
        if options["record"]:
            verification.record(report, started_at=started_at, ended_at=clock.now())
        if options["json"]:
            self.stdout.write(json.dumps({**report.as_json(), "repaired": repaired}))
        else:
            self._print(report, repaired)
        if not report.is_true:
            sys.exit(1)

    def _print(self, report: Report, repaired: list[str]) -> None:
        for line in repaired:
            self.stdout.write(f"repaired  {line}")
        self.stdout.write(f"{'check':14}{'rows':>10}{'findings':>10}")
        for row in report.as_json()["checks"]:
            self.stdout.write(f"{row['check']:14}{row['rows']:>10}{row['findings']:>10}")
        for found in report.findings:
            self.stdout.write(f"{found.check}: {found.subject}: {found.fault}")
        self.stdout.write("The ledger is true." if report.is_true else f"{len(report.findings)} findings.")


def _verified(journal: str | None) -> Report:
    try:
        return verification.verify(journal=verification.read_journal(journal) if journal else None)
    except InvalidRequest as fault:
        raise CommandError(fault.message) from fault
