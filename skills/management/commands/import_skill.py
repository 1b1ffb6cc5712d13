"""Publish a folder as a tenant's skill: `manage.py import_skill TENANT DIRECTORY-OR-ZIP`."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from kit import commands
from kit.errors import SkillgateError
from skills import catalog, folders
from skills.folders import Taken
from tenants.models import Tenant


class Command(commands.Command):
    """Publish a folder in the Agent Skills layout as the next version of a tenant's skill."""

    help = "Publish a folder, or a zip of one, as the next version of a tenant's skill; it moves no label."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the tenant and the folder."""
        parser.add_argument("tenant", help="the tenant's slug")
        parser.add_argument("source", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        """Take the folder and say what it became."""
        tenant = Tenant.objects.filter(slug=options["tenant"]).first()
        if tenant is None:
            raise CommandError("There is no such tenant.")
        try:
            taken = _taken(tenant, options["source"])
        except (SkillgateError, OSError) as fault:
            raise CommandError(str(fault)) from fault
        state = "published" if taken.is_new else "unchanged"
        self.stdout.write(f"{taken.version.skill.name} {taken.version.number}: {state}")
        for name in taken.ignored:
            self.stdout.write(f"not taken: {name}")


def _taken(tenant: Tenant, source: Path) -> Taken:
    if source.is_dir():
        return folders.take(tenant, catalog.read_folder(source), actor="system")
    return folders.take_archive(tenant, source.read_bytes(), actor="system")
