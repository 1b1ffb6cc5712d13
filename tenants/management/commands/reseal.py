"""`manage.py reseal`: encrypt stored secrets anew, after a new key was put in front of SKILLGATE_FIELD_KEYS."""

from typing import Any

from kit import commands
from tenants import provider_keys


class Command(commands.Command):
    """Encrypt every stored secret under the first of the field keys."""

    help = "Encrypt stored secrets under the first of SKILLGATE_FIELD_KEYS; afterwards the others may be dropped."

    def handle(self, *_: Any, **__: Any) -> None:
        """Run the command."""
        self.stdout.write(f"{provider_keys.reseal_all()} secrets are sealed anew.")
