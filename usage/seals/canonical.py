"""An event as the one text that is hashed: a JSON array of its columns, in the order that the seal itself names.

The text is made by an expression of the query, from functions that are PostgreSQL's own: whoever
replaces a function of ours changes no hash.
"""

import json
from typing import Any

from django.db import models

from usage.models import UsageEvent

_FIELDS = {str(field.column): field for field in UsageEvent._meta.concrete_fields}  # noqa: SLF001 - Django's public name
COLUMNS: tuple[str, ...] = tuple(_FIELDS)
_INSTANT = """to_char(e.{name} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""


def row(columns: tuple[str, ...] = COLUMNS) -> str:
    """Return the SQL expression of the canonical row of `usage_event e`.

    Raises KeyError for a column that no event has: a seal that names one was forged.
    """
    return f"jsonb_build_array({', '.join(_expression(_FIELDS[name]) for name in columns)})::text"


def digest(columns: tuple[str, ...] = COLUMNS) -> str:
    """Return the SQL expression of the canonical row's SHA-256, as 32 bytes."""
    return f"sha256(convert_to({row(columns)}, 'UTF8'))"


def text(content: dict[str, Any]) -> str:
    """Write a payload or figures as the one JSON text that is hashed and signed."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _expression(field: Any) -> str:
    return _INSTANT.format(name=field.column) if isinstance(field, models.DateTimeField) else f"e.{field.column}"
