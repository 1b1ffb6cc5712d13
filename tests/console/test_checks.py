"""Deployments that would open the console too wide are named."""

from typing import Any

import pytest
from pytest_django import Settings

from console import checks


@pytest.mark.parametrize(
    ("check", "wrong", "right", "named"),
    [
        (checks.field_keys_are_set, {"FIELD_KEYS": []}, {"FIELD_KEYS": ["x" * 32]}, "skillgate.E005"),
        (checks.field_keys_are_set, {"FIELD_KEYS": ["x" * 32, "short"]}, {"FIELD_KEYS": ["x" * 32]}, "skillgate.E005"),
        (
            checks.operators_need_a_second_factor,
            {"OPERATORS_NEED_TOTP": False},
            {"OPERATORS_NEED_TOTP": True},
            "skillgate.E006",
        ),
        (checks.second_wall_stands, {"CONSOLE_ROLE": ""}, {"CONSOLE_ROLE": "wall"}, "skillgate.W002"),
        (
            checks.mail_leaves_the_machine,
            {"EMAIL_BACKEND": "django.core.mail.backends.console.EmailBackend"},
            {"EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend"},
            "skillgate.W003",
        ),
    ],
)
def test_a_mistake_is_named_and_its_correction_passes(
    check: Any, wrong: dict[str, Any], right: dict[str, Any], named: str, settings: Settings
) -> None:
    for name, value in wrong.items():
        setattr(settings, name, value)
    assert [found.id for found in check()] == [named]

    for name, value in right.items():
        setattr(settings, name, value)
    assert check() == []
