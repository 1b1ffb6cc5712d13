"""Mistakes of deployment that concern the console, named before they cost anything."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004 - Django's own name for the class

_SHORTEST_SECRET = 32


@register(Tags.security, deploy=True)
def field_keys_are_set(**_: Any) -> list[CheckMessage]:
    """Refuse production without a good key for stored secrets."""
    if settings.FIELD_KEYS and all(len(key) >= _SHORTEST_SECRET for key in settings.FIELD_KEYS):
        return []
    hint = "Set it in the environment: tenants' own Anthropic keys are encrypted under it; 32 characters or more each."
    return [Error("SKILLGATE_FIELD_KEYS is not set, or too short.", hint=hint, id="skillgate.E005")]


@register(Tags.security, deploy=True)
def seal_keys_are_set(**_: Any) -> list[CheckMessage]:
    """Refuse production whose books nobody can trust: unsigned, or signed with a key one can guess."""
    if settings.SEAL_KEYS and all(len(key) >= _SHORTEST_SECRET for key in settings.SEAL_KEYS):
        return []
    hint = "Set it in the environment, outside of the database: seals and statements are signed with it; 32 characters or more."
    return [Error("SKILLGATE_SEAL_KEYS is not set, or too short.", hint=hint, id="skillgate.E010")]


@register(Tags.security, deploy=True)
def operators_need_a_second_factor(**_: Any) -> list[CheckMessage]:
    """Refuse production in which a password alone opens all tenants."""
    if settings.OPERATORS_NEED_TOTP:
        return []
    hint = "Leave SKILLGATE_OPERATORS_NEED_TOTP unset."
    return [Error("Operators may sign in without a second factor.", hint=hint, id="skillgate.E006")]


@register(Tags.security, deploy=True)
def second_wall_stands(**_: Any) -> list[CheckMessage]:
    """Point out that Postgres does not hold the console to one tenant."""
    if settings.CONSOLE_ROLE:
        return []
    hint = "Leave SKILLGATE_CONSOLE_ROLE unset; docs/decisions/0003-two-walls.md says what the role needs."
    return [Warning("The tenants' console works without row-level security.", hint=hint, id="skillgate.W002")]


@register(deploy=True)
def mail_leaves_the_machine(**_: Any) -> list[CheckMessage]:
    """Point out that nobody gets invitations and reset links."""
    if not settings.EMAIL_BACKEND.endswith("console.EmailBackend"):
        return []
    hint = "Set SKILLGATE_EMAIL_URL, such as smtp+tls://user:password@mail.example:587."
    return [Warning("Mails are written to the log instead of sent.", hint=hint, id="skillgate.W003")]
