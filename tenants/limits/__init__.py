"""Rate limits: requests and tokens per minute and concurrent calls, decided together for a key's family."""

from tenants.limits.calls import cancel, refund, release, renew, take
from tenants.limits.decisions import Decision, Window

__all__ = ["Decision", "Window", "cancel", "refund", "release", "renew", "take"]
