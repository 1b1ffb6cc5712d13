"""The project itself as an app, for its system checks."""

from django.apps import AppConfig


class ConfigConfig(AppConfig):
    """Wiring only."""

    name = "config"

    def ready(self) -> None:
        """Register the system checks, and the Celery application that messages are sent by."""
        from config import celery, checks  # noqa: F401, PLC0415 - registering is what the imports are for
