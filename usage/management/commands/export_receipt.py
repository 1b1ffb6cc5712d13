"""`manage.py export_receipt --tenant acme --from 2026-10-01 --to 2026-10-31`: sealed days, to be checked anywhere."""

from datetime import date
from typing import Any

from django.core.management.base import CommandError, CommandParser

from kit import commands
from kit.errors import NotFound
from tenants.models import Tenant
from usage import seals


class Command(commands.Command):
    """Write a receipt of sealed days as JSON."""

    help = "Write sealed days as a JSON receipt; examples/check_receipt.py checks it without the platform."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("--tenant", help="slug of the tenant")
        parser.add_argument("--from", dest="first_day", type=date.fromisoformat, default=date.min)
        parser.add_argument("--to", dest="last_day", type=date.fromisoformat, default=date.max)
        parser.add_argument("--digests", action="store_true", help="without the rows themselves")
        parser.add_argument("--keys", action="store_true", help="print the public keys instead")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Run the command."""
        if options["keys"]:
            for key in seals.public_keys():
                self.stdout.write(f"{key['id']} {key['public_key']}")
            return
        try:
            tenant = Tenant.objects.get(slug=options["tenant"])
            rows = "digests" if options["digests"] else "whole"
            pieces = seals.receipt(tenant, first_day=options["first_day"], last_day=options["last_day"], rows=rows)
        except (Tenant.DoesNotExist, NotFound) as fault:
            raise CommandError(str(fault)) from fault
        for piece in pieces:
            self.stdout.write(piece, ending="")
