"""`manage.py check --deploy` names each mistake of a deployment, and nothing else."""

import os
import re
import subprocess
import sys
from typing import Any

import pytest
from django.core.checks import run_checks

from tests.live import ROOT

_LONG = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_~."
PRODUCTION = {
    "SKILLGATE_DEBUG": "0",
    "SKILLGATE_SECRET_KEY": _LONG,
    "SKILLGATE_KEY_PEPPER": _LONG,
    "SKILLGATE_FIELD_KEYS": _LONG,
    "SKILLGATE_SEAL_KEYS": _LONG,
    "SKILLGATE_ALLOWED_HOSTS": "skillgate.example",
    "SKILLGATE_BASE_URL": "https://skillgate.example",
    "SKILLGATE_TRUSTED_PROXIES": "10.0.0.0/8",
    "SKILLGATE_METRICS_TOKEN": _LONG,
    "ANTHROPIC_API_KEY": "check-only",
    "ANTHROPIC_BASE_URL": "https://api.anthropic.com",
    "SKILLGATE_EMULATOR_URL": "",
    "SKILLGATE_EMAIL_URL": "smtp+tls://user:password@mail.example:587",
    "REDIS_URL": "redis://limits.example:6379/0",
    "CELERY_BROKER_URL": "redis://broker.example:6379/0",
}
EMULATOR = "http://emulator.example"


def check(**changed: str) -> str:
    env = {**os.environ, **PRODUCTION, **changed}
    command = [sys.executable, "manage.py", "check", "--deploy"]
    checked = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    return checked.stdout + checked.stderr


def test_a_complete_deployment_has_nothing_to_mend() -> None:
    said = check()

    assert "System check identified" in said
    assert "skillgate." not in said.replace("skillgate.example", "")
    assert "security." not in said


def test_a_deployment_without_any_secret_hears_all_their_names_and_no_traceback() -> None:
    nothing = dict.fromkeys(
        (
            "SKILLGATE_SECRET_KEY",
            "SKILLGATE_KEY_PEPPER",
            "SKILLGATE_FIELD_KEYS",
            "SKILLGATE_SEAL_KEYS",
            "ANTHROPIC_API_KEY",
        ),
        "",
    )

    said = check(**nothing)

    assert [name for name in nothing if f"{name} is not set" not in said] == []
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"KEY_PEPPERS": {"1": "short"}}, "skillgate.E002"),
        ({"EMULATOR_URL": EMULATOR, "ANTHROPIC_BASE_URL": EMULATOR}, "skillgate.E004"),
        ({"FIELD_KEYS": ["short"]}, "skillgate.E005"),
        ({"SEAL_KEYS": ["short"]}, "skillgate.E010"),
        ({"CELERY_BROKER_URL": ""}, "skillgate.E007"),
        ({"SECURE_SSL_REDIRECT": True, "SECURE_PROXY_SSL_HEADER": None}, "skillgate.E008"),
        ({"METRICS_TOKEN": "guess"}, "skillgate.E009"),
        ({"BASE_URL": "http://127.0.0.1:8000"}, "skillgate.W001"),
        ({"CELERY_BROKER_URL": "redis://one/0", "REDIS_URL": "redis://one/0"}, "skillgate.W004"),
        ({"WORKER_METRICS_ADDRESS": "0.0.0.0:9101"}, "skillgate.W005"),
        ({"LOG_PROMPTS_OF": frozenset({"acme"})}, "skillgate.W006"),
        ({"DEBUG": True}, "security.W018"),
    ],
)
def test_a_mistake_is_named(settings: Any, changed: dict[str, Any], named: str) -> None:
    for name, value in changed.items():
        setattr(settings, name, value)

    found = run_checks(include_deployment_checks=True)

    assert named in {one.id for one in found}


def test_no_two_checks_share_a_number() -> None:
    files = (ROOT / "platform").rglob("checks.py")
    numbers = [number for file in files for number in re.findall(r'"(skillgate\.[EW]\d+)"', file.read_text())]

    assert len(numbers) > 10
    assert sorted(numbers) == sorted(set(numbers))
