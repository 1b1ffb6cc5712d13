"""The project itself as an app, for its system checks."""

from django.apps import AppConfig


class ConfigConfig(AppConfig):
    """Wiring only."""

    name = "config"
