"""Counts the statements that really go to Postgres: a relay on a unix socket that reads the protocol."""

import asyncio
import contextlib
import struct
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from django.db import connections

from kit import pg

_SIMPLE_QUERY, _EXECUTE = b"Q", b"E"


class Relay:
    """How many statements passed since it was last asked."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.statements = 0
        self.tasks: set[asyncio.Task[None]] = set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_unix_connection(self.upstream)
        self.tasks |= {
            asyncio.ensure_future(self._count(reader, up_writer)),
            asyncio.ensure_future(self._pass(up_reader, writer)),
        }

    async def _count(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            (length,) = struct.unpack("!i", head := await reader.readexactly(4))  # the startup packet has no type
            writer.write(head + await reader.readexactly(length - 4))
            while True:
                kind = await reader.readexactly(1)
                (length,) = struct.unpack("!i", head := await reader.readexactly(4))
                self.statements += kind in (_SIMPLE_QUERY, _EXECUTE)
                writer.write(kind + head + await reader.readexactly(length - 4))
        writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()


@contextmanager
def postgres_host(folder: str) -> Iterator[None]:
    """Send new connections to another socket folder."""
    settings = connections["default"].settings_dict
    before = settings["HOST"]
    settings["HOST"] = folder
    try:
        yield
    finally:
        settings["HOST"] = before


@asynccontextmanager
async def counted() -> AsyncIterator[Relay]:
    """Relay the pool's connections, warmed up, and count what passes."""
    settings = connections["default"].settings_dict
    port = settings["PORT"] or "5432"
    await pg.close()
    with tempfile.TemporaryDirectory(prefix="sgp") as folder:
        relay = Relay(f"{settings['HOST']}/.s.PGSQL.{port}")
        server = await asyncio.start_unix_server(relay.accept, f"{folder}/.s.PGSQL.{port}")
        try:
            with postgres_host(folder):
                await pg.fetch_one("SELECT 1")
                relay.statements = 0
                yield relay
        finally:
            await pg.close()
            server.close()
            await asyncio.gather(*relay.tasks)
