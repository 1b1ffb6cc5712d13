"""By which ways alerts go out: each is a function that is registered, so that this app need not know who carries it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from usage.alerts.models import Alert


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of one attempt: to whom it went (nobody: there is no one to tell), and a word for the log."""

    recipients: list[str] = field(default_factory=list)
    note: str = ""


Sender = Callable[[Alert, datetime], Sent]
CHANNELS: dict[str, Sender] = {}


def channel(name: str, sender: Sender) -> None:
    """Let alerts go out by a channel; `sender` raises `OSError` for what is to be tried again."""
    CHANNELS[name] = sender
