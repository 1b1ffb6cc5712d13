"""End an API key at once and for good."""

from typing import Any

from django.core.management.base import CommandParser

from kit import clock, commands
from tenants import keys
from tenants.management import speaking


class Command(commands.Command):
    """Revoke an API key."""

    help = "End an API key at once and for good."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--key", required=True, help="the key's public id, key_…")
        parser.add_argument("--reason", required=True)

    def handle(self, *_args: Any, **options: Any) -> None:
        found = speaking.key(options["key"])
        with speaking.refusals_as_sentences():
            keys.revoke(found, reason=options["reason"], now=clock.now())
        self.stderr.write(f"Revoked {found.public_id} ({found.display}).")
