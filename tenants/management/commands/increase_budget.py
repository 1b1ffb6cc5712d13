"""Raise a budget for a time."""

from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError, CommandParser

from kit import clock, commands
from tenants import budgets
from tenants.management import speaking

_MOST_HOURS = 24 * 366


class Command(commands.Command):
    """Raise a budget; the addition ends by itself."""

    help = "Raise a budget for some hours; the addition ends by itself."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tenant", required=True, help="the tenant's slug")
        parser.add_argument("--key", help="a key's public id, key_…; the whole tenant when left out")
        parser.add_argument("--skill", default="", help="all skills when left out")
        parser.add_argument("--window", default="month", choices=["month", "day"])
        parser.add_argument("--tokens", type=int, default=0, help="tokens to add")
        parser.add_argument("--micros", type=int, default=0, help="micro-dollars to add")
        parser.add_argument("--hours", type=float, required=True, help="how long it lasts")
        parser.add_argument("--reason", required=True)

    def handle(self, *_args: Any, **options: Any) -> None:
        if not 0 < options["hours"] <= _MOST_HOURS:
            raise CommandError(f"Give --hours more than 0 and at most {_MOST_HOURS}.")
        now = clock.now()
        tenant = speaking.tenant(options["tenant"])
        key = speaking.key(options["key"]) if options["key"] else None
        with speaking.refusals_as_sentences():
            budget = budgets.find(tenant, key=key, skill=options["skill"], window=options["window"])
            addition = budgets.increase(
                budget,
                extra_tokens=options["tokens"],
                extra_micros=options["micros"],
                ends_at=now + timedelta(hours=options["hours"]),
                reason=options["reason"],
                now=now,
            )
        self.stderr.write(f"Raised the budget of {budget} until {addition.ends_at.isoformat()}.")
