"""Answers kept for the same request again: per tenant, for as long as the skill's policy says, in Redis.

`enter` joins the crowd that wants one answer: its first has the `Lead` and makes the call, the
others are handed what it shares. Without Redis the crowd is that of this process and nothing is
kept; calls go on. Nothing here decides who may have an answer: that is admission's.
"""

from skills.caching.crowds import Alone, Found, Lead, Outcome, Seat, count, enter, take_over
from skills.caching.entries import Entry
from skills.caching.keys import Key, key_of
from skills.caching.store import purge

__all__ = [
    "Alone",
    "Entry",
    "Found",
    "Key",
    "Lead",
    "Outcome",
    "Seat",
    "count",
    "enter",
    "key_of",
    "purge",
    "take_over",
]
