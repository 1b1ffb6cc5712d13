"""The results of a batch, in the order of its items, a few hundred at a time."""

from collections.abc import AsyncGenerator
from typing import Any
from uuid import UUID

from kit import pg

_AT_ONCE = 200
Row = dict[str, Any]


async def results(batch_id: UUID) -> AsyncGenerator[list[Row], None]:
    """Yield all items with what became of them, in order."""
    after = -1
    while rows := await pg.fetch_all(_ITEMS, {"id": batch_id, "after": after, "most": _AT_ONCE}):
        yield rows
        after = rows[-1]["position"]


_ITEMS = """
SELECT position, input, output FROM skills_analysisstep
WHERE analysis_id = %(id)s AND level = 0 AND position > %(after)s ORDER BY position LIMIT %(most)s
"""
