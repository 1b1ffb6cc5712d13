"""How often an address may fail to authenticate: looked at only after a failure, so good keys never wait for it.

Counted by django-ratelimit in the cache, off the event loop because it is synchronous; when the
cache is in trouble each process counts for itself.
"""

import asyncio
import hashlib
import ipaddress
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import Any

from django.conf import settings
from django_ratelimit.core import get_usage

from kit import redis as kit_redis
from kit.errors import RateLimited
from tenants.breaker import Breaker

MOST_PER_MINUTE = 60
_MOST_ADDRESSES = 10_000
_MOST_QUEUED = 100

_threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="failures")
_breaker = Breaker("failed authentications")
_queued: set[asyncio.Future[Any]] = set()
_here: dict[tuple[str, int], int] = {}
_lock = threading.Lock()


async def count(address: str, *, now: datetime) -> None:
    """Count a failure of an address; raises `RateLimited` when there were too many in a minute."""
    subject = _subject(address)
    too_many, wait = await _count_shared(subject) or _count_here(subject, now=now)
    if too_many:
        raise RateLimited(
            "Too many requests without a usable key came from this address. Check the key, then try again later.",
            retry_after=wait,
        )


async def _count_shared(subject: str) -> tuple[bool, int] | None:
    if len(_queued) >= _MOST_QUEUED or not _breaker.admits():
        return None
    # The parts of django-ratelimit's key are joined without a separator: a digest has a fixed length.
    usage = asyncio.get_running_loop().run_in_executor(
        _threads,
        partial(
            get_usage,
            None,
            group="tenants.keys.failures",
            key=lambda *_: subject,
            rate=f"{MOST_PER_MINUTE}/m",
            increment=True,
        ),
    )
    _queued.add(usage)
    usage.add_done_callback(_forget)
    with _breaker.watched():
        try:
            async with asyncio.timeout(settings.LIMITS_TIMEOUT_SECONDS):
                found = await asyncio.shield(usage)
        except kit_redis.TROUBLE as trouble:
            _breaker.failed(trouble)
            return None
        _breaker.worked()
    return (found["should_limit"], max(1, found["time_left"])) if found and found["limit"] else None


def _forget(usage: "asyncio.Future[Any]") -> None:
    _queued.discard(usage)
    if not usage.cancelled():
        usage.exception()  # read, or asyncio complains about an answer that came too late for anyone


def _count_here(subject: str, *, now: datetime) -> tuple[bool, int]:
    minute, second = divmod(int(now.timestamp()), 60)
    with _lock:
        if len(_here) >= _MOST_ADDRESSES:
            _here.clear()
        failures = _here[subject, minute] = _here.get((subject, minute), 0) + 1
    return failures > max(1, MOST_PER_MINUTE // settings.PROCESS_COUNT), 60 - second


def _subject(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        network = address
    else:  # whoever has one IPv6 address has its whole /64
        network = str(ipaddress.ip_network((parsed, 64 if parsed.version == 6 else 32), strict=False))
    return hashlib.sha256(network.encode()).hexdigest()
