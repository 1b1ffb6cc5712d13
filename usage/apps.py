"""The usage app."""

from django.apps import AppConfig


class UsageConfig(AppConfig):
    """What was consumed."""

    name = "usage"
