"""`manage.py alert_webhook_secret`: what the operators' alert webhook is signed with."""

from typing import Any

from kit import commands
from skills.webhooks import alerts


class Command(commands.Command):
    """Print the secret."""

    help = "Print the Standard Webhooks secret of SKILLGATE_ALERT_WEBHOOK_URL."

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Run the command."""
        self.stdout.write(alerts.secret())
