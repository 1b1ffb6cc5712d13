"""The tenants app."""

from django.apps import AppConfig


class TenantsConfig(AppConfig):
    """What is allowed."""

    name = "tenants"
