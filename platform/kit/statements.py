"""Statements that are asked all the time: prepared once on a connection, sent and read in libpq's own few steps.

psycopg's cursor adapts, prepares, waits for and describes any statement; one that only passes text and reads rows can
do without most of it, and while its connection stays in the loop's sight an answer costs one wake-up.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import psycopg
from psycopg import generators, pq
from psycopg.abc import RV, PQGen
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.rows import DictRow

_CANCEL_SECONDS = 5.0


class Statement(NamedTuple):
    """A query with `$1`, `$2`… for its parameters, and the name it is prepared under, one for each query."""

    name: bytes
    query: bytes


Parameters = Sequence[bytes | None]
Rows = list[DictRow]
Told = Callable[[Rows | psycopg.Error], None]


class Connection(psycopg.AsyncConnection[DictRow]):
    """A connection that statements can be asked on, beside all that psycopg's own can do; one at a time."""

    _watched = -1  # the socket that the loop looks at, between statements too
    _told: Told | None = None
    _asked: Statement
    _results: list[pq.abc.PGresult]
    _rows_of: Mapping[bytes, Callable[[Any], Any]] = {}  # what is prepared here, and what pairs its columns with a row
    _transformer: Any  # psycopg's loaders; it has no type to name

    async def ask(self, statement: Statement, parameters: Parameters) -> Rows:
        """Run a statement, which is a transaction of its own, and return its rows; its parameters are text.

        Raises what psycopg would: the class of the server's refusal, `OperationalError` when the connection is lost.
        """
        answer: asyncio.Future[Rows] = asyncio.get_running_loop().create_future()
        while not self.send(statement, parameters, partial(_settle, answer)):
            await self._prepare(statement)
        try:
            return await answer
        except asyncio.CancelledError:
            self._told = None  # what is not read to its end is not lent again
            with suppress(psycopg.Error):
                await self.cancel_safe(timeout=_CANCEL_SECONDS)
            raise

    def send(self, statement: Statement, parameters: Parameters, told: Told) -> bool:
        """Send a statement and have `told` hear, in a later turn of the loop, what `ask` returns or raises.

        One that was not asked here before is not sent, and it returns False. Raises `OperationalError` when the
        connection is lost already; nothing is told then.
        """
        if statement.name not in self._rows_of:
            return False
        self.pgconn.send_query_prepared(statement.name, parameters)
        is_sent = self.pgconn.flush() == 0
        self._asked, self._results, self._told = statement, [], told
        if self._watched < 0:
            self._watched = self.pgconn.socket
            asyncio.get_running_loop().add_reader(self._watched, self._on_readable)
        if not is_sent:  # the rest of a long one waits until the socket takes more
            asyncio.get_running_loop().add_writer(self._watched, self._on_writable)
        return True

    async def wait(self, gen: PQGen[RV], *args: Any, **kwargs: Any) -> RV:
        """Let psycopg wait, which watches the socket by itself."""
        self._look_away()
        return await super().wait(gen, *args, **kwargs)

    async def close(self) -> None:
        """Close the connection."""
        self._look_away()
        await super().close()

    async def _prepare(self, statement: Statement) -> None:
        self.pgconn.send_prepare(statement.name, statement.query)
        _refuse_failure(*await self.wait(generators.execute(self.pgconn)))
        self.pgconn.send_describe_prepared(statement.name)
        (described,) = await self.wait(generators.execute(self.pgconn))
        _refuse_failure(described)
        if not self._rows_of:
            self._transformer = Transformer(self)
        names = tuple((described.fname(column) or b"").decode() for column in range(described.nfields))
        self._rows_of = {**self._rows_of, statement.name: partial(zip, names)}

    def _on_writable(self) -> None:
        try:
            is_sent = self.pgconn.flush() == 0
        except psycopg.Error as lost:
            self._lose(lost)
            return
        if is_sent:
            asyncio.get_running_loop().remove_writer(self._watched)

    def _on_readable(self) -> None:
        try:
            self.pgconn.consume_input()  # also of what nobody waits for: that the server hangs up
        except psycopg.Error as lost:
            self._lose(lost)
            return
        if self._told is None:
            return
        while not self.pgconn.is_busy():
            result = self.pgconn.get_result()
            if result is None:
                told, self._told = self._told, None
                told(self._answer())
                return
            self._results.append(result)

    def _answer(self) -> Rows | psycopg.Error:
        """Return what the server said last: an error may come after rows whose commit failed."""
        result = self._results[-1]
        if result.status == pq.ExecStatus.FATAL_ERROR:
            return error_from_result(result)
        try:
            self._transformer.set_pgresult(result)
            return list(map(dict, self._transformer.load_rows(0, result.ntuples, self._rows_of[self._asked.name])))
        except psycopg.Error as illegible:
            return illegible

    def _lose(self, lost: psycopg.Error) -> None:
        self._look_away()
        told, self._told = self._told, None
        if told is None:
            return
        is_said = self._results and self._results[-1].status == pq.ExecStatus.FATAL_ERROR  # why, before it hung up
        told(self._answer() if is_said else lost)

    def _look_away(self) -> None:
        if self._watched >= 0:
            asyncio.get_running_loop().remove_reader(self._watched)
            asyncio.get_running_loop().remove_writer(self._watched)
            self._watched = -1


def _refuse_failure(result: pq.abc.PGresult) -> None:
    if result.status == pq.ExecStatus.FATAL_ERROR:
        raise error_from_result(result)


def _settle(answer: "asyncio.Future[Rows]", said: Rows | psycopg.Error) -> None:
    if answer.done():  # who asked was cancelled
        return
    if isinstance(said, psycopg.Error):
        answer.set_exception(said)
    else:
        answer.set_result(said)
