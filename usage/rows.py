"""Rows of a statement as dicts, for work outside of the hot path, on Django's connection."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any

from django.db import connection

_NUMBERS = count(1)


def fetch(query: str, parameters: Sequence[Any] | Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """Run a statement and return its rows by column name."""
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def stream(
    query: str, parameters: Sequence[Any] | Mapping[str, Any] | None = None, *, chunk: int = 2000
) -> Iterator[dict[str, Any]]:
    """Run a query and yield its rows as they come, a chunk in memory at a time.

    The cursor lives on the server: within a transaction for as long as that lasts, else beyond it.
    """
    connection.ensure_connection()
    inner: Any = connection.connection
    name = f"usage_{next(_NUMBERS)}"
    with inner.cursor(name=name, withhold=inner.autocommit) as cursor:
        cursor.itersize = chunk
        cursor.execute(query, parameters)
        names = [column.name for column in cursor.description or ()]
        for row in cursor:
            yield dict(zip(names, row, strict=True))
