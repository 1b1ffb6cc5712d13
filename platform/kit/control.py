"""The control channel: what every process must hear at once, such as that a key was revoked.

It makes processes react within a second; nothing depends on it being heard, because whoever
spends checks again in Postgres. Messages are JSON objects with a `topic`.
"""

import asyncio
import inspect
import json
import logging
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlparse
from weakref import WeakKeyDictionary

from django.conf import settings
from django.db import transaction
from redis.asyncio.client import PubSub

from kit import clock, loops
from kit import redis as kit_redis

logger = logging.getLogger(__name__)

Message = dict[str, Any]
Reaction = Callable[[Message], Awaitable[None] | None]

CONNECTED = "control.connected"  # said to reactions here, never sent: what was published until now may have been missed
_SILENCE_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 5.0

_reactions: defaultdict[str, list[Reaction]] = defaultdict(list)
_listeners: WeakKeyDictionary[asyncio.AbstractEventLoop, "Listener"] = WeakKeyDictionary()


def channel() -> str:
    """Name the channel; Redis shares channels between databases, so a numbered one has its own."""
    url = urlparse(settings.REDIS_URL)
    database = dict(part.partition("=")[::2] for part in url.query.split("&")).get("db") or (
        url.path.strip("/") if url.scheme != "unix" else ""
    )
    return "skillgate:control" if database in ("", "0") else f"skillgate:control:{database}"


def subscribe(topic: str, reaction: Reaction) -> Callable[[], None]:
    """Have `reaction` called with each message of a topic, in every loop that listens; returns its end."""
    _reactions[topic].append(reaction)
    return lambda: _reactions[topic].remove(reaction)


def publish(topic: str, **fields: Any) -> None:
    """Tell every process, once the transaction under way has committed; it never raises."""
    transaction.on_commit(lambda: _send(topic, fields), robust=True)


def _send(topic: str, fields: Message) -> None:
    try:
        with kit_redis.blocking() as connection:
            connection.publish(channel(), json.dumps({**fields, "topic": topic}))
    except kit_redis.TROUBLE as trouble:
        logger.warning("control message %s was not sent: %s", topic, trouble)


async def announce(topic: str, **fields: Any) -> None:
    """Tell every process now, from async code outside of a transaction; it never raises."""
    try:
        await kit_redis.client().publish(channel(), json.dumps({**fields, "topic": topic}))
    except kit_redis.TROUBLE as trouble:
        logger.warning("control message %s was not sent: %s", topic, trouble)


def listener() -> "Listener":
    """Return the running loop's listener, started on first use."""
    loop = asyncio.get_running_loop()
    found = _listeners.get(loop)
    if found is None or found.ended:
        found = _listeners[loop] = Listener()
        found.start()
    return found


async def stop() -> None:
    """End the running loop's listener, if it has one."""
    found = _listeners.pop(asyncio.get_running_loop(), None)
    if found is not None:
        await found.stop()


class Listener:
    """Hears the control channel for one event loop and comes back by itself after every loss."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._heard_at: float | None = None

    @property
    def connected(self) -> bool:
        """Whether the channel was heard (a message or an answered ping) a moment ago."""
        return self._heard_at is not None and clock.monotonic() - self._heard_at < 3 * _SILENCE_SECONDS

    @property
    def ended(self) -> bool:
        return self._task is not None and self._task.done()

    def start(self) -> None:
        """Begin to listen."""
        self._task = loops.start(self._listen_for_ever(), name="control listener")

    async def stop(self) -> None:
        """End listening and close the connection."""
        await loops.end(self._task)

    async def _listen_for_ever(self) -> None:
        pause = 0.1
        while True:
            try:
                await self._listen()
            except kit_redis.TROUBLE as trouble:
                if self._heard_at is not None:
                    logger.warning("control channel lost: %s", trouble)
                    pause = 0.1
            self._heard_at = None
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads reconnections, keeps no secret
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _listen(self) -> None:
        connection = kit_redis.subscriber()
        subscription = connection.pubsub()
        try:
            await self._subscribe(subscription)
            while True:
                await self._hear(subscription)
        finally:
            self._heard_at = None
            await subscription.aclose()  # type: ignore[no-untyped-call]  # redis-py leaves this one untyped
            await connection.aclose()

    async def _subscribe(self, subscription: PubSub) -> None:
        async with asyncio.timeout(_SILENCE_SECONDS):
            await subscription.subscribe(channel())
            while await subscription.get_message(timeout=_SILENCE_SECONDS) is None:
                pass
        self._heard_at = clock.monotonic()
        await react({"topic": CONNECTED})

    async def _hear(self, subscription: PubSub) -> None:
        message = await subscription.get_message(timeout=_SILENCE_SECONDS)
        if message is None:  # silence: a stalled server is told from a quiet one by whether it answers
            async with asyncio.timeout(_SILENCE_SECONDS):
                await subscription.ping()
                while (message := await subscription.get_message(timeout=_SILENCE_SECONDS)) is None:
                    pass
        self._heard_at = clock.monotonic()
        if message["type"] == "message":
            await react(_parse(message["data"]))


def _parse(data: bytes) -> Message:
    try:
        message = json.loads(data)
    except ValueError:
        message = None
    return message if isinstance(message, dict) else {}


async def react(message: Message) -> None:
    """Call every reaction to a message here; one that fails does not keep the others from it."""
    for reaction in tuple(_reactions.get(str(message.get("topic")), ())):
        try:
            outcome = reaction(message)
            if inspect.isawaitable(outcome):
                await outcome
        except Exception:
            logger.exception("a reaction to %s failed", message.get("topic"))
