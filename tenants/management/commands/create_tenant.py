"""Create a tenant with its monthly token budget."""

from typing import Any

from django.core.management.base import CommandParser

from kit import commands
from tenants import tenants
from tenants.management import speaking


class Command(commands.Command):
    """Create a tenant; prints its slug."""

    help = "Create a tenant with its monthly token budget; prints its slug on stdout."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--slug", required=True, help="short name in addresses: a-z, 0-9, hyphens")
        parser.add_argument("--name", required=True)
        parser.add_argument("--timezone", default="UTC", help="IANA name; months and days are counted in it")
        parser.add_argument("--monthly-token-budget", type=int, default=100_000_000)

    def handle(self, *_args: Any, **options: Any) -> None:
        with speaking.refusals_as_sentences():
            tenant = tenants.create(
                options["slug"],
                name=options["name"],
                timezone=options["timezone"],
                monthly_token_budget=options["monthly_token_budget"],
            )
        self.stdout.write(tenant.slug)
        self.stderr.write(
            f"Created {tenant.name}, {options['monthly_token_budget']} tokens a month in {tenant.timezone}."
        )
