"""`manage.py close_month --tenant acme --month 2026-10`: close a month by hand, before its grace is over."""

from datetime import date
from typing import Any

from django.core.management.base import CommandError, CommandParser

from kit import commands
from kit.errors import SkillgateError
from tenants.models import Tenant
from usage import closing


class Command(commands.Command):
    """Close a month, or show how a tenant's months stand."""

    help = "Close a tenant's month that is over, or, without --month, show how its months stand."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("--tenant", required=True, help="slug of the tenant")
        parser.add_argument("--month", type=lambda text: date.fromisoformat(f"{text}-01"), help="such as 2026-10")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Run the command."""
        try:
            tenant = Tenant.objects.get(slug=options["tenant"])
            if options["month"]:
                closing.close(tenant, month=options["month"], actor="operator")
        except (Tenant.DoesNotExist, SkillgateError) as fault:
            raise CommandError(str(fault)) from fault
        for one in closing.standings(tenant.pk):
            told = (
                f"statement {one.number}, by {one.closed_by}"
                if one.number
                else f"closes by itself at {one.closes_at:%Y-%m-%d %H:%M %Z}"
            )
            self.stdout.write(f"{one.month:%Y-%m}  {one.state:7}  {told}")
