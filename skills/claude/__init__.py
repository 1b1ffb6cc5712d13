"""The way to Claude, and the only importer of the Anthropic SDK.

`enter` gives the right to one upstream attempt, a Place, when and as soon as there is one. `Call` makes the
attempt: it yields Claude's own stream events and knows at any moment how its usage event is to be closed.
Retries are not made here; each is a Call of its own.

The SDK takes most of a second and 40 MB, which commands and the timetable are spared: it is loaded on first use, or
by `load` where calls are to be made.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from skills.claude import bulk
from skills.claude.events import StreamEvent
from skills.claude.faults import Fault
from skills.claude.places import Place, enter, enter_at_once, is_held_back

if TYPE_CHECKING:
    from skills.claude.call import Call
    from skills.claude.client import close, count_tokens

__all__ = [
    "Call",
    "Fault",
    "Place",
    "StreamEvent",
    "bulk",
    "close",
    "count_tokens",
    "enter",
    "enter_at_once",
    "is_held_back",
    "load",
]
_OF_THE_SDK = {"Call": "skills.claude.call", "close": "skills.claude.client", "count_tokens": "skills.claude.client"}


def load() -> None:
    """Load the SDK and what its clients trust, so that no call waits for that."""
    globals().update({name: getattr(import_module(module), name) for name, module in _OF_THE_SDK.items()})
    import_module("skills.claude.client").tls()


def __getattr__(name: str) -> Any:
    if name not in _OF_THE_SDK:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    load()
    return globals()[name]
