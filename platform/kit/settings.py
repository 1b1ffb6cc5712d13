"""Django's settings, each asked for once: its own object takes three calls a time, and a request asks a dozen times."""

from typing import Any, cast

from django.conf import LazySettings
from django.conf import settings as django_settings
from django.core.signals import setting_changed


class _Kept:
    """What was asked for, until a test changes a setting."""

    def __getattr__(self, name: str) -> Any:
        value = self.__dict__[name] = getattr(django_settings, name)
        return value


_kept = _Kept()
setting_changed.connect(lambda **_: vars(_kept).clear(), weak=False)
settings = cast("LazySettings", _kept)
