"""Load the built-in skills: `manage.py load_skills [DIRECTORY]`."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from kit import commands
from kit.errors import InvalidRequest
from skills import catalog


class Command(commands.Command):
    """Bring the built-in skills in the database up to their folders; safe to run again and at once."""

    help = "Load the built-in skills from their folders; running it again changes nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take another directory than the built-in one."""
        parser.add_argument("directory", nargs="?", type=Path, default=catalog.BUILTIN)

    def handle(self, *args: Any, directory: Path, **options: Any) -> None:
        """Load and say what was done."""
        if not directory.is_dir():
            raise CommandError(f"{directory} is not a directory.")
        try:
            loaded = catalog.load(directory)
        except InvalidRequest as fault:
            raise CommandError(fault.message) from fault
        for added in loaded.added:
            self.stdout.write(f"added {added}")
        for promoted in loaded.promoted:
            self.stdout.write(f"production is now {promoted}")
        if not loaded.added:
            self.stdout.write(f"{loaded.unchanged} versions, nothing new")
