"""`manage.py load_tariff FILE --tenant SLUG`: what a tenant is charged from a day on."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from kit import clock
from kit.errors import InvalidRequest
from tenants.models import Tenant
from usage.pricing import tariffs


class Command(BaseCommand):
    """Load a tariff for a tenant."""

    help = "Load a tenant's tariff (markup and own prices, from a day on) from a TOML file."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """This function will declare the arguments."""
        parser.add_argument("file", type=Path)
        parser.add_argument("--tenant", required=True, help="the tenant's slug")

    def handle(self, *_: Any, **options: Any) -> None:
        """This function will run the command."""
        tenant = Tenant.objects.filter(slug=options["tenant"]).first()
        if tenant is None:
            raise CommandError(f"There is no tenant {options['tenant']!r}.")
        try:
            tariff = tariffs.load(tenant, tariffs.read(options["file"].read_bytes()), now=clock.now())
        except (InvalidRequest, OSError) as fault:
            raise CommandError(str(fault)) from fault
        self.stderr.write(f"tariff {tariff.pk} of {tenant.slug} from {tariff.effective_from}: {tariff.source}")
