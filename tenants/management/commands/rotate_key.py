"""Replace an API key by a successor, with a time in which both work."""

from datetime import timedelta
from typing import Any

from django.core.management.base import CommandParser

from kit import clock, commands
from tenants import keys
from tenants.management import speaking


class Command(commands.Command):
    """Rotate an API key; prints only the successor on stdout."""

    help = "Issue a key's successor on the same limits and budget; prints only the new key on stdout."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--key", required=True, help="the key's public id, key_…")
        parser.add_argument(
            "--overlap-hours", type=float, default=24.0, help="how long the old key still works, 0 to 24"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        old = speaking.key(options["key"])
        hours = options["overlap_hours"]
        # Not every float is a duration: whatever is out of range, NaN included, is refused as too long.
        overlap = timedelta(hours=hours if 0 <= hours <= 24 else 25)
        with speaking.refusals_as_sentences():
            issued = keys.rotate(old, overlap=overlap, now=clock.now())
        self.stderr.write(
            f"Issued {issued.key.public_id} ({issued.key.display}); {old.public_id} ends at {old.expires_at}."
        )
        self.stdout.write(issued.secret)
