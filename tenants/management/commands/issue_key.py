"""Issue an API key; the secret is printed once and kept nowhere."""

from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError, CommandParser

from kit import clock, commands
from tenants import keys
from tenants.management import speaking

_MOST_DAYS = 36_500


class Command(commands.Command):
    """Issue an API key; prints only the key on stdout."""

    help = "Issue an API key with its monthly token budget; prints only the key on stdout, everything else on stderr."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tenant", required=True, help="the tenant's slug")
        parser.add_argument("--name", required=True)
        parser.add_argument("--monthly-token-budget", type=int, default=10_000_000)
        parser.add_argument("--requests-per-minute", type=int, default=60)
        parser.add_argument("--tokens-per-minute", type=int, default=200_000)
        parser.add_argument("--concurrent-calls", type=int, default=20)
        parser.add_argument("--skills", default="", help="comma-separated; all when left out")
        parser.add_argument(
            "--verbs", default="", help="of run, read, messages, health, reports; all but the last two when left out"
        )
        parser.add_argument("--models", default="", help="comma-separated; all priced ones when left out")
        parser.add_argument("--networks", default="", help="comma-separated CIDR ranges; any when left out")
        parser.add_argument("--expires-in-days", type=int)
        parser.add_argument("--environment", default="live", help="live, or test for the emulator only")

    def handle(self, *_args: Any, **options: Any) -> None:
        now = clock.now()
        days = options["expires_in_days"]
        if days is not None and not 1 <= days <= _MOST_DAYS:
            raise CommandError(f"Give --expires-in-days 1 to {_MOST_DAYS}, or leave it out.")
        with speaking.refusals_as_sentences():
            issued = keys.issue(
                speaking.tenant(options["tenant"]),
                name=options["name"],
                now=now,
                monthly_token_budget=options["monthly_token_budget"],
                environment=options["environment"],
                requests_per_minute=options["requests_per_minute"],
                tokens_per_minute=options["tokens_per_minute"],
                concurrent_calls=options["concurrent_calls"],
                allowed_skills=speaking.names(options["skills"]),
                allowed_verbs=speaking.names(options["verbs"]),
                allowed_models=speaking.names(options["models"]),
                allowed_networks=speaking.names(options["networks"]),
                expires_at=None if days is None else now + timedelta(days=days),
            )
        self.stderr.write(
            f"Issued {issued.key.public_id} ({issued.key.display}). The key below is shown once; keep it safe."
        )
        self.stdout.write(issued.secret)
