"""`manage.py load_prices [FILE]`: load prices as a new version, unless they are the newest already."""

from argparse import ArgumentParser
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from kit import clock, commands
from kit.errors import InvalidRequest
from usage import pricing
from usage.pricing import previews


class Command(commands.Command):
    """Load a price file; the shipped one by default."""

    help = "Load prices from a TOML file (default: the shipped ones) as a new price version."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("file", nargs="?", type=Path, default=pricing.SHIPPED)
        parser.add_argument("--preview", action="store_true", help="only say what last month would have cost by it")

    def handle(self, *_: Any, **options: Any) -> None:
        """Run the command."""
        if options["preview"]:
            self._preview(options["file"])
            return
        try:
            book, is_new = pricing.load(options["file"], now=clock.now())
        except (InvalidRequest, OSError) as fault:
            raise CommandError(str(fault)) from fault
        self.stderr.write(f"price version {book.pk} ({'new' if is_new else 'loaded before'}): {book.source}")

    def _preview(self, file: Path) -> None:
        now = clock.now()
        try:
            book, starts = pricing.candidate(file.read_bytes())
        except (InvalidRequest, OSError) as fault:
            raise CommandError(str(fault)) from fault
        month = now.date().replace(day=1) - timedelta(days=1)
        for line in previews.told(previews.of_book(book, month=month, on=max(starts, now.date()))):
            self.stdout.write(line)
