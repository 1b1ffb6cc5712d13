"""Set what a tenant, a key or one of its skills may use in a month or a day."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from kit import clock, commands
from tenants import budgets
from tenants.management import speaking


class Command(commands.Command):
    """Set a budget, or remove an optional one."""

    help = "Set a budget of a tenant, a key or a skill; --remove takes an optional one away."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tenant", required=True, help="the tenant's slug")
        parser.add_argument("--key", help="a key's public id, key_…; the whole tenant when left out")
        parser.add_argument("--skill", default="", help="all skills when left out")
        parser.add_argument("--window", default="month", choices=["month", "day"])
        parser.add_argument("--tokens", type=int, help="limit in tokens")
        parser.add_argument("--micros", type=int, help="limit in micro-dollars")
        parser.add_argument("--thresholds", help="percentages that alert once each, such as 50,80,100")
        parser.add_argument(
            "--alert-recipients", help="mail addresses that hear its alerts too, such as a@x.example,b@x.example"
        )
        parser.add_argument("--remove", action="store_true")

    def handle(self, *_args: Any, **options: Any) -> None:
        tenant = speaking.tenant(options["tenant"])
        key = speaking.key(options["key"]) if options["key"] else None
        with speaking.refusals_as_sentences():
            if options["remove"]:
                found = budgets.find(tenant, key=key, skill=options["skill"], window=options["window"])
                budgets.remove(found, now=clock.now())
                self.stderr.write(f"Removed the budget of {found}.")
                return
            budget = budgets.set_budget(
                tenant,
                key=key,
                skill=options["skill"],
                window=options["window"],
                limit_tokens=options["tokens"],
                limit_micros=options["micros"],
                thresholds=_percents(options["thresholds"]),
                alert_recipients=_names(options["alert_recipients"]),
                now=clock.now(),
            )
        self.stderr.write(f"Set the budget of {budget}: {budget.limit_tokens} tokens, {budget.limit_micros} micros.")


def _names(text: str | None) -> list[str] | None:
    return None if text is None else speaking.names(text)


def _percents(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(part) for part in speaking.names(text)]
    except ValueError:
        raise CommandError("Give --thresholds as whole percentages, such as 50,80,100.") from None
