"""`manage.py prepare_demo --json`: everything a first start needs, in one process and safe to repeat."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError

from console import demo
from kit import clock, commands

_STEPS = (
    ("migrate", "Migrating the database"),
    ("load_skills", "Loading the skills"),
    ("load_prices", "Loading the prices"),
)


class Command(commands.Command):
    """Migrate, load skills and prices, and seed the demo tenant."""

    help = "Migrate, load skills and prices, seed the demo tenant; prints how to use it. For development only."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("--json", action="store_true", help="print one line of JSON")
        parser.add_argument("--demo-file", type=Path, default=settings.BASE_DIR / ".local" / "demo.json")

    def handle(self, *_: Any, **options: Any) -> None:
        """Run the command."""
        if not settings.DEBUG:
            raise CommandError("The demo tenant is for development: set SKILLGATE_DEBUG=1.")
        for command, step in _STEPS:
            self.stderr.write(f"{step} …")
            call_command(command, verbosity=0, stdout=self.stderr, stderr=self.stderr)
        seeded = demo.seed(known=demo.remembered(options["demo_file"]), now=clock.now())
        if options["json"]:
            self.stdout.write(json.dumps(seeded))
        else:
            for name, value in seeded.items():
                self.stdout.write(f"{name}: {value}")
