"""`manage.py rerate --model M --from DAY --to DAY`: what another price would mean; with --apply it is booked."""

import json
from dataclasses import asdict
from datetime import date
from typing import Any

from django.core.management.base import CommandError, CommandParser

from kit import commands, money
from kit.errors import SkillgateError
from tenants.models import Tenant
from usage import closing


class Command(commands.Command):
    """Preview or book a re-rating."""

    help = "Show per tenant what another price of a model would mean for past days; --apply books it as adjustments."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("--model", required=True, help="the model, all of its dated versions included")
        parser.add_argument("--from", dest="first_day", type=date.fromisoformat, required=True)
        parser.add_argument("--to", dest="last_day", type=date.fromisoformat, required=True)
        parser.add_argument("--tenant", help="slug of one tenant; default: all")
        parser.add_argument("--price-version", type=int, help="the price version to rate by; default: the newest")
        parser.add_argument("--reason", default="", help="why, for the statement; needed with --apply")
        parser.add_argument("--apply", action="store_true", help="book the difference")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Run the command."""
        if options["apply"] and not options["reason"]:
            raise CommandError("Give a --reason: it stands on the tenants' statements.")
        asked = closing.Rerating(
            model=options["model"],
            first_day=options["first_day"],
            last_day=options["last_day"],
            price_version=options["price_version"],
        )
        try:
            tenant = Tenant.objects.get(slug=options["tenant"]) if options["tenant"] else None
            found = (
                closing.book_rerating(asked, tenant=tenant, reason=options["reason"], actor="operator")
                if options["apply"]
                else closing.preview_rerating(asked, tenant=tenant)
            )
        except (Tenant.DoesNotExist, SkillgateError) as fault:
            raise CommandError(str(fault)) from fault
        self._print(found, **options)

    def _print(self, found: list[closing.Preview], **options: Any) -> None:
        if options["json"]:
            self.stdout.write(json.dumps({"applied": options["apply"], "tenants": [asdict(one) for one in found]}))
            return
        verb = "booked" if options["apply"] else "to book"
        for one in found:
            self.stdout.write(
                f"{one.slug}: {one.calls} calls, {money.dollars(one.cost_micros)} → {money.dollars(one.new_cost_micros)};"
                f" {verb} {money.dollars(one.difference_micros)} ({money.dollars(one.billed_difference_micros)} charged)"
                + (f"; {one.estimated_calls} estimated calls are left as they are" if one.estimated_calls else "")
            )
        self.stdout.write(f"{len(found)} tenants, {verb} {money.dollars(sum(one.difference_micros for one in found))}.")
