"""The skills app."""

from django.apps import AppConfig


class SkillsConfig(AppConfig):
    """The work."""

    name = "skills"
