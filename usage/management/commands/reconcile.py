"""`manage.py reconcile --day 2026-11-20`: the ledger against the provider's report. Exit code 1 beyond the tolerance."""

import json
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from kit import clock, commands, money
from kit.errors import SkillgateError
from usage import reconciliation
from usage.reconciliation.models import Reconciliation


class Command(commands.Command):
    """Compare days with the provider's Usage and Cost reports."""

    help = "Compare UTC days with the provider's reports (Admin API, or its CSV exports), sorted into named buckets."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("--day", type=date.fromisoformat, help="UTC day; default: the day before yesterday")
        parser.add_argument("--to", dest="last_day", type=date.fromisoformat, help="last day; default: the first")
        parser.add_argument("--usage-file", type=Path, help="CSV export of the console's Usage page")
        parser.add_argument("--cost-file", type=Path, help="CSV export of the console's Cost page")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Run the command."""
        now = clock.now()
        first = options["day"] or reconciliation.due(now=now)[0]
        days = [first + timedelta(days=n) for n in range(((options["last_day"] or first) - first).days + 1)]
        files = {"usage_file": options["usage_file"], "cost_file": options["cost_file"]}
        try:
            found = [reconciliation.reconcile(day, now=now, **files) for day in days]
        except SkillgateError as fault:
            raise CommandError(fault.message) from fault
        if options["json"]:
            self.stdout.write(json.dumps({"days": [_day(one) for one in found]}))
        else:
            for one in found:
                self._print(one)
        if not all(one.is_within_tolerance for one in found):
            sys.exit(1)

    def _print(self, one: Reconciliation) -> None:
        verdict = "within the tolerance" if one.is_within_tolerance else "BEYOND THE TOLERANCE"
        self.stdout.write(
            f"{one.day}  ours {money.dollars(one.ours_micros)}  theirs {money.dollars(one.theirs_micros)}"
            f"  difference {money.dollars(one.difference_micros)}, {verdict}"
        )
        for bucket, micros in one.buckets.items():
            self.stdout.write(f"    {bucket.replace('_', ' '):22}{money.dollars(micros):>16}")


def _day(one: Reconciliation) -> dict[str, Any]:
    return {
        "day": one.day.isoformat(),
        "source": one.source,
        "has_costs": one.has_costs,
        "ours_micros": one.ours_micros,
        "theirs_micros": one.theirs_micros,
        "difference_micros": one.difference_micros,
        "is_within_tolerance": one.is_within_tolerance,
        "buckets": one.buckets,
        "lines": one.lines,
    }
