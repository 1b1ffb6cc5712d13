"""`manage.py seed_scale`: a database of a size to measure on."""

from time import monotonic
from typing import Any

from django.core.management.base import CommandError, CommandParser

from kit import clock, commands
from kit.errors import SkillgateError
from usage import scale


class Command(commands.Command):
    """Make many tenants with months of use."""

    help = "Make tenants, keys and usage events, millions if asked, that `verify_ledger` finds true. For measurements."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        usual = scale.Size()
        parser.add_argument("--tenants", type=int, default=usual.tenants)
        parser.add_argument("--keys", type=int, default=usual.keys)
        parser.add_argument("--events", type=int, default=usual.events)
        parser.add_argument("--days", type=int, default=usual.days, help="over how many days up to now")
        parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same use")
        parser.add_argument("--beside-real-data", action="store_true", help="seed although there is other usage")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Run the command."""
        size = scale.Size(**{name: options[name] for name in ("tenants", "keys", "events", "days")})
        began = monotonic()
        try:
            made = scale.seed(
                size,
                now=clock.now(),
                random_seed=options["seed"],
                beside_real_data=options["beside_real_data"],
            )
        except SkillgateError as refused:
            raise CommandError(refused.message) from refused
        self.stdout.write(
            f"{made.tenants} tenants ({made.largest} is the largest), {made.keys} keys, {made.events} events"
            f" in {monotonic() - began:.0f} s"
        )
