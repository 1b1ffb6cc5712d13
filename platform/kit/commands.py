"""Commands of `manage.py` that begin at once."""

from django.core.management.base import BaseCommand


class Command(BaseCommand):
    """A command without Django's system checks before it: they would load every page, which takes seconds.

    They are `manage.py check`'s, which CI and each deployment run once.
    """

    requires_system_checks = ()
