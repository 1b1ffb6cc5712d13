"""Rate limits: requests and tokens per minute and concurrent calls, decided together for a key's family."""

from tenants.limits.calls import cancel, expects_room, has_room, refund, release, renew, take
from tenants.limits.decisions import Decision, Window

__all__ = ["Decision", "Window", "cancel", "expects_room", "has_room", "refund", "release", "renew", "take"]
