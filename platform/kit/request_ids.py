"""The request id: taken from the caller where it is safe, made here otherwise, known to every log line."""

import re
from contextvars import ContextVar

from kit import ids

_ACCEPTABLE = re.compile(r"[A-Za-z0-9_.-]{8,128}")

current: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the request this task is working for; None outside of one."""


def accept(offered: str | None) -> str:
    """Return the id a caller offered, or a new one if it offered none that is safe to repeat."""
    if offered and _ACCEPTABLE.fullmatch(offered):
        return offered
    return ids.request_id()
