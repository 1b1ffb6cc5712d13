"""The skills and prices that are shipped, put into empty tables as often as tests want them."""

import os
from pathlib import Path

from django.core.management import call_command
from django.db import connection

_TABLES = ("skills_skill", "skills_skillversion", "skills_skilllabel", "skills_skilllabelmove")
_made: dict[str, dict[str, bytes]] = {}


def load() -> None:
    """Load both; the skills' rows are made once in a database, by the command, and copied from then on."""
    rows = _made.setdefault(connection.settings_dict["NAME"], {})
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        if rows:
            _put(rows)
        else:
            call_command("load_skills", verbosity=0, stdout=nowhere)
            _take(rows)
        call_command("load_prices", verbosity=0, stderr=nowhere)


def _take(rows: dict[str, bytes]) -> None:
    with connection.cursor() as cursor:
        for table in _TABLES:
            with cursor.copy(f"COPY {table} TO STDOUT") as copied:
                rows[table] = b"".join(bytes(part) for part in copied)


def _put(rows: dict[str, bytes]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")  # the triggers were there when the rows were made
        for table, made in rows.items():
            with cursor.copy(f"COPY {table} FROM STDIN") as copied:
                copied.write(made)
        cursor.execute("SET session_replication_role = DEFAULT")
