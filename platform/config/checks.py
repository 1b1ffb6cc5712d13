"""Mistakes of deployment, named before they cost anything. `manage.py check --deploy` runs them."""

import os
from typing import Any

from django.conf import settings
from django.core.checks import Error, Tags, Warning, register  # noqa: A004 - Django's own name for the class
from django.core.exceptions import ImproperlyConfigured

_SHORTEST_SECRET = 32


@register(Tags.security, deploy=True)
def secrets_are_set(**_: Any) -> list[Error]:
    """Name every secret that production lacks."""
    found = []
    if not _secret_key():
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
    """Refuse to serve live keys from the emulator in production."""
    if settings.EMULATOR_URL and settings.ANTHROPIC_BASE_URL == settings.EMULATOR_URL:
        hint = "Leave ANTHROPIC_BASE_URL unset; test keys still reach the emulator."
        return [Error("Live keys would be answered by the emulator.", hint=hint, id="skillgate.E004")]
    return []


@register(deploy=True)
def addresses_are_set(**_: Any) -> list[Warning]:
    """Point at addresses that only fit a developer's machine."""
    if any(
        "127.0.0.1" in address or "localhost" in address for address in (settings.BASE_URL, *settings.ALLOWED_HOSTS)
    ):
        hint = "Set SKILLGATE_BASE_URL and SKILLGATE_ALLOWED_HOSTS to the public name."
        return [Warning("The platform thinks it lives on this machine only.", hint=hint, id="skillgate.W001")]
    return []


@register(deploy=True)
def services_are_set(**_: Any) -> list[Error]:
    """Name what the platform cannot work without, or would work wrongly with."""
    found = []
    if not settings.CELERY_BROKER_URL:
        found.append(_missing("CELERY_BROKER_URL", "skillgate.E007", "sweeps, alerts and analyses run in workers"))
    if settings.SECURE_SSL_REDIRECT and settings.SECURE_PROXY_SSL_HEADER is None:
        hint = (
            "Set SKILLGATE_TRUSTED_PROXIES to the proxy's networks (or SKILLGATE_BEHIND_TLS=0 for a trial without TLS)."
        )
        found.append(
            Error(
                "Pages would redirect to https for ever: nobody is trusted to say that TLS was used.",
                hint=hint,
                id="skillgate.E008",
            )
        )
    if settings.METRICS_TOKEN and len(settings.METRICS_TOKEN) < _SHORTEST_SECRET // 2:
        found.append(_missing("SKILLGATE_METRICS_TOKEN", "skillgate.E009", "whoever guesses it reads the metrics"))
    return found


@register(deploy=True)
def services_fit(**_: Any) -> list[Warning]:
    """Point at what works and is likely not meant."""
    found = []
    if settings.CELERY_BROKER_URL and settings.CELERY_BROKER_URL == settings.REDIS_URL:
        hint = "The broker must persist (append-only file) and never evict; limits and streams need neither."
        found.append(Warning("Tasks and rate limits share a Redis database.", hint=hint, id="skillgate.W004"))
    if settings.WORKER_METRICS_ADDRESS and "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        hint = "Set it to an empty folder of the worker's own, in memory if possible."
        found.append(
            Warning("Worker metrics are off: PROMETHEUS_MULTIPROC_DIR is not set.", hint=hint, id="skillgate.W005")
        )
    if settings.LOG_PROMPTS_OF:
        tenants = ", ".join(sorted(settings.LOG_PROMPTS_OF))
        hint = "Unset SKILLGATE_LOG_PROMPTS_OF when it is no longer needed."
        found.append(Warning(f"Prompts are logged of: {tenants}.", hint=hint, id="skillgate.W006"))
    return found


def _secret_key() -> str:
    try:
        return str(settings.SECRET_KEY)
    except ImproperlyConfigured:  # Django will not even hand out an empty one
        return ""


def _missing(name: str, check_id: str, why: str) -> Error:
    return Error(f"{name} is not set, or too short.", hint=f"Set it in the environment: {why}.", id=check_id)
