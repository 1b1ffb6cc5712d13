"""The hot path's way to Postgres: one bounded pool of async connections for each event loop.

Django's ORM holds a thread and a connection for the length of a request; this pool lends a
connection for the length of a statement. When Postgres is down, or no connection comes free
in time, callers get `Unavailable` and nothing has happened.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import psycopg
from django.db import connections
from psycopg import AsyncCursor
from psycopg.pq import TransactionStatus
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from kit import clock, loops, traces
from kit.errors import Unavailable
from kit.settings import settings
from kit.statements import Connection, Statement

Cursor = AsyncCursor[DictRow]
Pool = AsyncConnectionPool[Connection]
Answer = TypeVar("Answer")

_pools: WeakKeyDictionary[asyncio.AbstractEventLoop, Pool] = WeakKeyDictionary()
_STATEMENT_TIMEOUT_MS = 15_000
ANSWER_SECONDS = 2.5
_TRACED_CHARACTERS = 500
_AT_HAND_SECONDS = 60.0
_at_hand: loops.Own[list[tuple[Connection, float]]] = loops.Own(list)  # and since when they are out of the pool
_left: set[asyncio.Future[Any]] = set()
_UNREACHABLE = "The database cannot be reached right now; nothing was done. Try again."
_LOST = (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout, PoolClosed)


def conninfo() -> dict[str, Any]:
    """Return the connection parameters Django uses now (a test's database included)."""
    parameters = connections["default"].get_connection_params()
    for of_django in ("cursor_factory", "context", "prepare_threshold", "client_encoding", "assume_role"):
        parameters.pop(of_django, None)
    return parameters


async def pool() -> Pool:
    """Return the running loop's pool, opened on first use."""
    loop = asyncio.get_running_loop()
    found = _pools.get(loop)
    if found is None:
        found = AsyncConnectionPool(
            connection_class=Connection,
            kwargs={
                **conninfo(),
                "autocommit": True,
                "row_factory": dict_row,
                "connect_timeout": 2,
                "options": f"-c statement_timeout={_STATEMENT_TIMEOUT_MS} -c lock_timeout={_STATEMENT_TIMEOUT_MS}",
            },
            min_size=1,
            max_size=settings.POOL_MAX_CONNECTIONS,
            timeout=settings.POOL_TIMEOUT_SECONDS,
            reconnect_timeout=2,
            open=False,
            name="skillgate",
        )
        _pools[loop] = found
        loops.at_close(close, name="postgres pool")
        await found.open(wait=False)
    return found


async def close() -> None:
    """Close the running loop's pool, if it has one."""
    found = _pools.pop(asyncio.get_running_loop(), None)
    if found is not None:
        for lent, _ in _at_hand.here():
            await found.putconn(lent)
        _at_hand.here().clear()
        await found.close()


@asynccontextmanager
async def connection() -> AsyncIterator[Connection]:
    """Lend an autocommitting connection whose rows are dicts.

    Raises `Unavailable` when Postgres is down, is lost during the statement, or when no
    connection comes free within `POOL_TIMEOUT_SECONDS`.
    """
    try:
        found = await pool()
        lent = await _lent(found)
        try:
            async with lent:  # ends a transaction that was begun
                yield lent
        finally:
            await found.putconn(lent)
    except _LOST as lost:
        raise Unavailable(_UNREACHABLE) from lost


async def _lent(found: Pool) -> Connection:
    """Take a connection from the pool on which the server has not hung up while nobody asked."""
    while True:
        lent = await found.getconn()
        with suppress(psycopg.OperationalError):
            lent.pgconn.consume_input()  # the server's last words
            lent.pgconn.consume_input()  # and that it is gone
            return lent
        await found.putconn(lent)


async def fetch_all(query: str, parameters: Any = None, *, within: float = ANSWER_SECONDS) -> list[DictRow]:
    """Run one statement and return all its rows; `within` as `answered` has it."""
    return await answered(_run(query, parameters, AsyncCursor.fetchall), within=within)


async def fetch_one(query: str, parameters: Any = None, *, within: float = ANSWER_SECONDS) -> DictRow | None:
    """Run one statement and return its first row, or None; `within` as `answered` has it."""
    rows = await fetch_all(query, parameters, within=within)
    return rows[0] if rows else None


async def execute(query: str, parameters: Any = None) -> int:
    """Run one statement and return how many rows it touched."""
    return await answered(_run(query, parameters, _rowcount), within=ANSWER_SECONDS)


async def ask(statement: Statement, *parameters: bytes | None) -> list[DictRow]:
    """Run a statement that is asked all the time and return its rows, for as long as it takes."""
    try:
        with _traced(statement.query.decode()):
            found = await pool()
            lent, since = await _taken(found)
            try:
                return await lent.ask(statement, parameters)
            finally:
                await _put_back(found, lent, since=since)
    except _LOST as lost:
        raise Unavailable(_UNREACHABLE) from lost


async def _taken(found: Pool) -> tuple[Connection, float]:
    """Take a connection that is at hand, or else from the pool, and say since when it has been out of that."""
    at_hand = _at_hand.here()
    while at_hand:
        lent, since = at_hand.pop()
        if not lent.closed:
            return lent, since
        await found.putconn(lent)  # the server hung up while nobody asked
    return await _lent(found), clock.monotonic()


async def _put_back(found: Pool, lent: Connection, *, since: float) -> None:
    """Keep a connection at hand, a quarter of the pool and a minute at most: the pool's own way is fifty calls long."""
    at_hand = _at_hand.here()
    is_fit = lent.pgconn.transaction_status == TransactionStatus.IDLE and clock.monotonic() - since < _AT_HAND_SECONDS
    if is_fit and not found.closed and len(at_hand) < settings.POOL_MAX_CONNECTIONS // 4:
        at_hand.append((lent, since))
    else:
        await found.putconn(lent)  # which closes it where the pool was closed meanwhile


async def _run(query: str, parameters: Any, read: Callable[[Cursor], Awaitable[Answer]]) -> Answer:
    with _traced(query):
        async with connection() as lent:
            return await read(await lent.execute(query.encode(), parameters))


async def _rowcount(cursor: Cursor) -> int:
    return cursor.rowcount


def _traced(query: str) -> Any:
    if not traces.is_on():
        return traces.span("")
    said = " ".join(query.split())[:_TRACED_CHARACTERS]  # parameters stand apart: no value is in it
    operation = said.partition(" ")[0].upper()
    facts: dict[str, Any] = {
        "db__system__name": "postgresql",
        "db__operation__name": operation,
        "db__query__text": said,
    }
    return traces.span(operation or "query", kind="client", **facts)


async def answered(work: Coroutine[Any, Any, Answer], *, within: float) -> Answer:
    """Await `work`, or raise `Unavailable` after `within` seconds; the work may have been done then.

    A stalled server does not even answer the request to cancel, so its connection is left to a task
    of its own.
    """
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=within)
    finally:
        if not task.done():
            _left.add(task)
            task.add_done_callback(_forget)
            task.cancel()
    if not done:
        raise Unavailable("The database does not answer right now. Try again.")
    return task.result()


def _forget(task: "asyncio.Future[Any]") -> None:
    _left.discard(task)
    if not task.cancelled():
        task.exception()  # read: nobody else asks any more
