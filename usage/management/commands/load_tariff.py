"""`manage.py load_tariff FILE --tenant SLUG`: what a tenant is charged from a day on."""

from argparse import ArgumentParser
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from django.core.management.base import CommandError

from kit import clock, commands
from kit.errors import InvalidRequest
from tenants.models import Tenant
from usage.pricing import previews, tariffs


class Command(commands.Command):
    """Load a tariff for a tenant."""

    help = "Load a tenant's tariff (markup and own prices, from a day on) from a TOML file."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("file", type=Path)
        parser.add_argument("--tenant", required=True, help="the tenant's slug")
        parser.add_argument("--preview", action="store_true", help="only say what last month would have been by it")

    def handle(self, *_: Any, **options: Any) -> None:
        """Run the command."""
        tenant = Tenant.objects.filter(slug=options["tenant"]).first()
        if tenant is None:
            raise CommandError(f"There is no tenant {options['tenant']!r}.")
        now = clock.now()
        try:
            terms = tariffs.read(options["file"].read_bytes())
            if options["preview"]:
                month = now.astimezone(ZoneInfo(tenant.timezone)).date().replace(day=1) - timedelta(days=1)
                for line in previews.told(previews.of_tariff(tenant, terms, month=month)):
                    self.stdout.write(line)
                return
            tariff = tariffs.load(tenant, terms, now=now)
        except (InvalidRequest, OSError) as fault:
            raise CommandError(str(fault)) from fault
        self.stderr.write(f"tariff {tariff.pk} of {tenant.slug} from {tariff.effective_from}: {tariff.source}")
