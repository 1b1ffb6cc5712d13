"""The way to Claude, and the only importer of the Anthropic SDK.

`Call` makes one upstream attempt: it yields Claude's own stream events and knows at any moment
how its usage event is to be closed. Retries are not made here; each would be a Call of its own.
"""

from skills.claude.call import Call, StreamEvent
from skills.claude.client import close, count_tokens

__all__ = ["Call", "StreamEvent", "close", "count_tokens"]
