"""Remove the kept answers of a tenant."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from kit import commands
from skills import caching
from skills.catalog.files import NAME
from tenants.management import speaking


class Command(commands.Command):
    """Remove kept answers."""

    help = "Remove a tenant's kept answers, of one skill or of all; the next calls go to Claude again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tenant", required=True, help="the tenant's slug")
        parser.add_argument("--skill", help="the skill's name; without it the answers of all skills go")

    def handle(self, *_args: Any, **options: Any) -> None:
        found, skill = speaking.tenant(options["tenant"]), options["skill"]
        if skill is not None and not NAME.match(skill):
            raise CommandError(f"{skill!r} is not the name of a skill.")
        with speaking.refusals_as_sentences():
            count = caching.purge(found.pk, skill=skill)
        self.stdout.write(f"Removed {count} {'answer' if count == 1 else 'answers'} of {skill or 'all skills'}.")
