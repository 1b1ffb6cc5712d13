"""The way to Claude, and the only importer of the Anthropic SDK.

`enter` gives the right to one upstream attempt, a Place, when and as soon as there is one. `Call` makes the
attempt: it yields Claude's own stream events and knows at any moment how its usage event is to be closed.
Retries are not made here; each is a Call of its own.
"""

from skills.claude import bulk
from skills.claude.call import Call, StreamEvent
from skills.claude.client import close, count_tokens
from skills.claude.faults import Fault
from skills.claude.places import Place, enter, is_held_back

__all__ = ["Call", "Fault", "Place", "StreamEvent", "bulk", "close", "count_tokens", "enter", "is_held_back"]
