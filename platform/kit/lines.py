"""A connection to Redis for who speaks to it all the time: one write for many commands, answers read as they come.

The pool's own commands take a connection, encode and read in some hundred steps each; here it is kept, and hiredis
packs and reads. Connecting, with TLS, password and database, is left to redis-py.
"""

import asyncio
from collections.abc import Iterable
from typing import Any

import hiredis
import redis
from redis.asyncio.connection import AbstractConnection, ConnectionPool

from kit import redis as kit_redis

Command = tuple[str | int | bytes, ...]


class Line(asyncio.Protocol):
    """One connection, for one who asks at a time; one that was left before it had answered is no use any more."""

    def __init__(self, pool: ConnectionPool, connection: AbstractConnection) -> None:
        self._pool = pool
        self._connection = connection
        writer: Any = connection._writer  # noqa: SLF001 - the one thing that redis-py does not hand out
        self._transport: asyncio.Transport = writer.transport
        self._streams = self._transport.get_protocol()
        self._reader = hiredis.Reader(protocolError=redis.InvalidResponse, replyError=redis.ResponseError)
        self._answers: list[Any] = []
        self._awaited = 0
        self._answered: asyncio.Future[list[Any]] | None = None
        self.is_open = True
        self._transport.set_protocol(self)

    def ask(self, commands: Iterable[Command]) -> "asyncio.Future[list[Any]]":
        """Send commands and return what will be their answers, in order; a refused one's is its `ResponseError`."""
        packed = [hiredis.pack_command(command) for command in commands]  # type: ignore[arg-type]  # its stub names a tuple of one
        self._answers, self._awaited = [], len(packed)
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(b"".join(packed))
        return self._answered

    def data_received(self, data: bytes) -> None:
        """Read answers; the last one ends the waiting."""
        try:
            self._reader.feed(data)
            while (answer := self._reader.gets()) is not False:
                self._answers.append(answer)
        except redis.RedisError as fault:
            self._end(fault)
            self._transport.abort()
        if len(self._answers) >= self._awaited and self._answered is not None and not self._answered.done():
            self._answered.set_result(self._answers)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell who waits that nothing will come."""
        self.is_open = False
        self._end(redis.ConnectionError("Redis closed the connection."))
        self._streams.connection_lost(exc)

    def expire(self) -> None:
        """Wait no longer for what was asked: a `TimeoutError`, after which the line has to be closed."""
        self._end(TimeoutError())

    def _end(self, fault: Exception) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(fault)

    async def close(self) -> None:
        """Give the connection up."""
        self.is_open = False
        self._transport.abort()
        await self._connection.disconnect(nowait=True)
        await self._pool.release(self._connection)


async def connect() -> Line:
    """Open a line, which holds one of the client's connections until it is closed, or the client is."""
    pool = kit_redis.client().connection_pool
    return Line(pool, await pool.get_connection())  # type: ignore[no-untyped-call]  # its decorator has no types
