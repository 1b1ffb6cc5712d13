"""The console app: pages and commands above all apps."""

from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    """Composed only of the apps' public verbs."""

    name = "console"
