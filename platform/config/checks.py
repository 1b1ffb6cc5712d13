"""Mistakes of deployment, named before they cost anything. `manage.py check --deploy` runs them."""

from typing import Any

from django.conf import settings
from django.core.checks import Error, Tags, Warning, register  # noqa: A004 - Django's own name for the class

_SHORTEST_SECRET = 32


@register(Tags.security, deploy=True)
def secrets_are_set(**_: Any) -> list[Error]:
    """This function will name every secret that production lacks."""
    found = []
    if not settings.SECRET_KEY:
        found.append(_missing("SKILLGATE_SECRET_KEY", "skillgate.E001", "sessions are signed with it"))
    if len(settings.KEY_PEPPERS.get("1", "")) < _SHORTEST_SECRET:
        found.append(
            _missing(
                "SKILLGATE_KEY_PEPPER",
                "skillgate.E002",
                "API keys are hashed under it; keep it outside the database and never lose it",
            )
        )
    if not settings.ANTHROPIC_API_KEY:
        found.append(_missing("ANTHROPIC_API_KEY", "skillgate.E003", "calls to Claude are made with it"))
    return found


@register(Tags.security, deploy=True)
def emulator_is_not_claude(**_: Any) -> list[Error]:
    """This function will refuse to serve live keys from the emulator in production."""
    if settings.EMULATOR_URL and settings.ANTHROPIC_BASE_URL == settings.EMULATOR_URL:
        hint = "Leave ANTHROPIC_BASE_URL unset; test keys still reach the emulator."
        return [Error("Live keys would be answered by the emulator.", hint=hint, id="skillgate.E004")]
    return []


@register(deploy=True)
def addresses_are_set(**_: Any) -> list[Warning]:
    """This function will point at addresses that only fit a developer's machine."""
    if any(
        "127.0.0.1" in address or "localhost" in address for address in (settings.BASE_URL, *settings.ALLOWED_HOSTS)
    ):
        hint = "Set SKILLGATE_BASE_URL and SKILLGATE_ALLOWED_HOSTS to the public name."
        return [Warning("The platform thinks it lives on this machine only.", hint=hint, id="skillgate.W001")]
    return []


def _missing(name: str, check_id: str, why: str) -> Error:
    return Error(f"{name} is not set, or too short.", hint=f"Set it in the environment: {why}.", id=check_id)
