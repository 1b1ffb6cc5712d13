"""The skills app."""

from django.apps import AppConfig


class SkillsConfig(AppConfig):
    """The work."""

    name = "skills"

    def ready(self) -> None:
        """Let alerts go out by webhook."""
        from skills.webhooks import alerts  # noqa: PLC0415 - apps are loaded only now

        alerts.register()
