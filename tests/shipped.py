"""The skills and prices that are shipped, put into empty tables as often as tests want them."""

import os
from pathlib import Path

from django.core.management import call_command
from django.db import connection

_TABLES = ("skills_skill", "skills_skillversion", "skills_skilllabel", "skills_skilllabelmove")
_rows: dict[str, bytes] = {}


def load() -> None:
    """Load both; the skills' rows are made once in a process, by the command, and copied from then on."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        if _rows:
            _put()
        else:
            call_command("load_skills", verbosity=0, stdout=nowhere)
            _take()
        call_command("load_prices", verbosity=0, stderr=nowhere)


def _take() -> None:
    with connection.cursor() as cursor:
        for table in _TABLES:
            with cursor.copy(f"COPY {table} TO STDOUT") as copied:
                _rows[table] = b"".join(bytes(part) for part in copied)


def _put() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")  # the triggers were there when the rows were made
        for table, rows in _rows.items():
            with cursor.copy(f"COPY {table} FROM STDIN") as copied:
                copied.write(rows)
        cursor.execute("SET session_replication_role = DEFAULT")
