"""Rows of a statement as dicts, for work outside of the hot path, on Django's connection."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import connection


def fetch(query: str, parameters: Sequence[Any] | Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """This function will run a statement and return its rows by column name."""
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
