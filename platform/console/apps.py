"""The console app: pages and commands above all apps."""

from django.apps import AppConfig, apps


class ConsoleConfig(AppConfig):
    """Composed only of the apps' public verbs."""

    name = "console"

    def ready(self) -> None:
        """Connect what follows migrations and sign-ins."""
        from django.db.models.signals import post_migrate  # noqa: PLC0415 - apps are loaded only now

        from console import checks, signals, walls  # noqa: F401, PLC0415 - importing checks registers them

        # Django says it once for each app that has models; one is enough, and by then all of them are migrated.
        post_migrate.connect(walls.raise_walls, sender=apps.get_app_config("tenants"), dispatch_uid="console.walls")
        signals.connect()
