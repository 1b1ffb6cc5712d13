"""Say what becomes of a tenant's calls of models without a price."""

from typing import Any

from django.core.management.base import CommandParser

from kit import commands
from tenants import tenants
from tenants.management import speaking


class Command(commands.Command):
    """Set a tenant's policy for unpriced models."""

    help = "Refuse a tenant's calls of models without a price, or flag them; --policy platform goes by the platform's setting."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tenant", required=True, help="the tenant's slug")
        parser.add_argument("--policy", required=True, choices=["refuse", "flag", "platform"])

    def handle(self, *_args: Any, **options: Any) -> None:
        tenant = speaking.tenant(options["tenant"])
        with speaking.refusals_as_sentences():
            tenants.treat_unpriced(tenant, policy="" if options["policy"] == "platform" else options["policy"])
        self.stderr.write(f"Unpriced models of {tenant.slug}: {options['policy']}.")
