"""Statements that are asked all the time: prepared once on a connection, sent and read in libpq's own few steps.

psycopg's cursor adapts, prepares, waits for and describes any statement; one that only passes text and reads rows can
do without most of it, and while its connection stays in the loop's sight an answer costs one wake-up.
"""

import asyncio
from contextlib import suppress
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


class Connection(psycopg.AsyncConnection[DictRow]):
    """A connection that statements can be asked on, beside all that psycopg's own can do; one at a time."""

    _watched = -1  # the socket that the loop looks at, between statements too
    _answer: "asyncio.Future[list[pq.abc.PGresult]] | None" = None
    _results: list[pq.abc.PGresult]
    _columns: dict[bytes, tuple[str, ...]]  # of what is prepared here
    _transformer: Any  # psycopg's loaders; it has no type to name

    async def ask(self, statement: Statement, parameters: tuple[bytes | None, ...]) -> list[DictRow]:
        """Run a statement, which is a transaction of its own, and return its rows; its parameters are text.

        Raises what psycopg would: the class of the server's refusal, `OperationalError` when the connection is lost.
        """
        if not hasattr(self, "_columns"):
            self._columns, self._transformer = {}, Transformer(self)
        if statement.name not in self._columns:
            self._columns[statement.name] = await self._prepare(statement)
        self.pgconn.send_query_prepared(statement.name, parameters)
        try:
            is_sent = self.pgconn.flush() == 0  # the rest of a long one waits until the socket takes more
            (result,) = await (self._read() if is_sent else self.wait(generators.execute(self.pgconn)))
        except asyncio.CancelledError:
            with suppress(psycopg.Error):
                await self.cancel_safe(timeout=_CANCEL_SECONDS)
            raise
        _refuse_failure(result)
        self._transformer.set_pgresult(result)
        columns = self._columns[statement.name]
        rows: list[DictRow] = self._transformer.load_rows(
            0, result.ntuples, lambda row: dict(zip(columns, row, strict=True))
        )
        return rows

    async def wait(self, gen: PQGen[RV], *args: Any, **kwargs: Any) -> RV:
        """Let psycopg wait, which watches the socket by itself."""
        self._look_away()
        return await super().wait(gen, *args, **kwargs)

    async def close(self) -> None:
        """Close the connection."""
        self._look_away()
        await super().close()

    async def _prepare(self, statement: Statement) -> tuple[str, ...]:
        self.pgconn.send_prepare(statement.name, statement.query)
        _refuse_failure(*await self.wait(generators.execute(self.pgconn)))
        self.pgconn.send_describe_prepared(statement.name)
        (described,) = await self.wait(generators.execute(self.pgconn))
        _refuse_failure(described)
        return tuple((described.fname(column) or b"").decode() for column in range(described.nfields))

    def _read(self) -> "asyncio.Future[list[pq.abc.PGresult]]":
        loop = asyncio.get_running_loop()
        if self._watched < 0:
            self._watched = self.pgconn.socket
            loop.add_reader(self._watched, self._on_readable)
        self._results = []
        self._answer = loop.create_future()
        return self._answer

    def _on_readable(self) -> None:
        try:
            self.pgconn.consume_input()  # also of what nobody waits for: that the server hangs up
        except psycopg.Error as lost:
            self._look_away()
            self._end(lost)
            return
        if self._answer is None or self._answer.done():
            return
        while not self.pgconn.is_busy():
            result = self.pgconn.get_result()
            if result is None:
                self._answer.set_result(self._results)
                return
            self._results.append(result)

    def _end(self, lost: psycopg.Error) -> None:
        if self._answer is None or self._answer.done():
            return
        if self._results:  # the server said why before it hung up
            self._answer.set_result(self._results)
        else:
            self._answer.set_exception(lost)

    def _look_away(self) -> None:
        if self._watched >= 0:
            asyncio.get_running_loop().remove_reader(self._watched)
            self._watched = -1


def _refuse_failure(result: pq.abc.PGresult) -> None:
    if result.status == pq.ExecStatus.FATAL_ERROR:
        raise error_from_result(result)
