"""The hot path's way to Postgres: one bounded pool of async connections for each event loop.

Django's ORM holds a thread and a connection for the length of a request; this pool lends a
connection for the length of a statement. When Postgres is down, or no connection comes free
in time, callers get `Unavailable` and nothing has happened.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, TypeVar

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
Told = Callable[[list[DictRow] | Exception], None]


class _Own:
    """What an event loop has of Postgres."""

    def __init__(self) -> None:
        self.pool: Pool | None = None
        self.at_hand: list[tuple[Connection, float]] = []  # and since when they are out of the pool
        self.asked: dict[Connection, Told] = {}  # at once, and who is told


_own = loops.Own(_Own)
_STATEMENT_TIMEOUT_MS = 15_000
ANSWER_SECONDS = 2.5
_TRACED_CHARACTERS = 500
_AT_HAND_SECONDS = 60.0
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
    own = _own.here()
    if own.pool is None:
        own.pool = AsyncConnectionPool(
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
        loops.at_close(close, name="postgres pool")
        await own.pool.open(wait=False)
    return own.pool


async def close() -> None:
    """Close the running loop's pool, if it has one; who asked at once and is not answered yet is told so."""
    own = _own.here()
    found, own.pool = own.pool, None
    if found is None:
        return
    lent, asked = [*(one for one, _ in own.at_hand), *own.asked], list(own.asked.values())
    own.at_hand.clear()
    own.asked.clear()
    for told in asked:
        told(_unreachable(PoolClosed("the pool was closed")))
    await found.close()
    for one in lent:
        await found.putconn(one)  # which closes it


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
        raise _unreachable(lost) from lost


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
        with _traced(statement.query):
            found = await pool()
            lent, since = await _taken(found)
            try:
                return await lent.ask(statement, parameters)
            finally:
                if not _keep(_own.here(), found, lent, since=since):
                    await found.putconn(lent)  # which closes it where the pool was closed meanwhile
    except _LOST as lost:
        raise _unreachable(lost) from lost


def ask_at_once(statement: Statement, *parameters: bytes | None, told: Told) -> bool:
    """Send a statement right now, and have `told` hear in a later turn of the loop what `ask` returns or raises.

    Where anything would have to be waited for before, nothing is sent and it returns False: then `ask`.
    """
    own = _own.here()
    if not own.at_hand or traces.is_on():
        return False
    lent, since = own.at_hand[-1]
    try:
        is_sent = lent.send(statement, parameters, partial(_hear, own, lent, since, told))
    except psycopg.OperationalError:  # the server hung up while nobody asked
        return False
    if is_sent:
        own.at_hand.pop()
        own.asked[lent] = told
    return is_sent


def _hear(own: _Own, lent: Connection, since: float, told: Told, answer: list[DictRow] | Exception) -> None:
    if own.pool is None or own.asked.pop(lent, None) is None:
        return  # the pool was closed, and has told
    if not _keep(own, own.pool, lent, since=since):
        loops.start(own.pool.putconn(lent), name="give a connection back")
    told(_unreachable(answer) if isinstance(answer, _LOST) else answer)


def _unreachable(lost: Exception) -> Unavailable:
    unreachable = Unavailable(_UNREACHABLE)
    unreachable.__cause__ = lost
    return unreachable


async def _taken(found: Pool) -> tuple[Connection, float]:
    """Take a connection that is at hand, or else from the pool, and say since when it has been out of that."""
    at_hand = _own.here().at_hand
    while at_hand:
        lent, since = at_hand.pop()
        if not lent.closed:
            return lent, since
        await found.putconn(lent)  # the server hung up while nobody asked
    return await _lent(found), clock.monotonic()


def _keep(own: _Own, found: Pool, lent: Connection, *, since: float) -> bool:
    """Keep a connection at hand, a quarter of the pool and a minute at most: the pool's own way is fifty calls long."""
    is_fit = lent.pgconn.transaction_status == TransactionStatus.IDLE and clock.monotonic() - since < _AT_HAND_SECONDS
    if not is_fit or own.pool is not found or len(own.at_hand) >= settings.POOL_MAX_CONNECTIONS // 4:
        return False
    own.at_hand.append((lent, since))
    return True


async def _run(query: str, parameters: Any, read: Callable[[Cursor], Awaitable[Answer]]) -> Answer:
    with _traced(query):
        async with connection() as lent:
            return await read(await lent.execute(query.encode(), parameters))


async def _rowcount(cursor: Cursor) -> int:
    return cursor.rowcount


def _traced(query: str | bytes) -> Any:
    if not traces.is_on():
        return traces.span("")
    text = query.decode() if isinstance(query, bytes) else query
    said = " ".join(text.split())[:_TRACED_CHARACTERS]  # parameters stand apart: no value is in it
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
