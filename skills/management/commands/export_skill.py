"""Write a skill's version as a folder: `manage.py export_skill TENANT NAME DIRECTORY [--number N]`."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from kit import commands
from skills import folders
from skills.models import PRODUCTION, SkillVersion
from tenants.models import Tenant


class Command(commands.Command):
    """Write a skill as a folder in the Agent Skills layout."""

    help = "Write a tenant's skill, with its cases, as a folder in the Agent Skills layout."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the tenant, the skill, where to, and which version."""
        parser.add_argument("tenant", help="the tenant's slug")
        parser.add_argument("name")
        parser.add_argument("directory", type=Path, help="the folder is made in it, under the skill's name")
        parser.add_argument("--number", type=int, help="the version; without it, the one in production, or the newest")

    def handle(self, *args: Any, **options: Any) -> None:
        """Write the folder, which must not exist."""
        tenant = Tenant.objects.filter(slug=options["tenant"]).first()
        version = _version(tenant, options["name"], number=options["number"]) if tenant else None
        if version is None:
            raise CommandError("There is no such tenant, skill or version.")
        target = options["directory"] / options["name"]
        if target.exists():
            raise CommandError(f"{target} exists.")
        for name, content in folders.export(version, tenant=tenant, actor="system").items():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(content)
        self.stdout.write(f"wrote version {version.number} to {target}")


def _version(tenant: Tenant, name: str, *, number: int | None) -> SkillVersion | None:
    found = SkillVersion.objects.select_related("skill").filter(skill__tenant=tenant, skill__name=name)
    if number is not None:
        return found.filter(number=number).first()
    labelled = found.filter(labels__name=PRODUCTION, labels__tenant=None).first()
    return labelled or found.order_by("-number").first()
