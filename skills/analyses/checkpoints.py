"""Keeping what a step came to: its output, its booking and its events are one transaction, so it is never paid twice."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.types.json import Json

from kit import pg
from skills.analyses import envelope, states
from skills.analyses.holds import Hold, Lost
from skills.events import RunUsage

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kept:
    """What a step came to; without a run nothing was called for it."""

    run_id: UUID | None
    usage: RunUsage
    output: Row
    outcome: str = "done"
    is_failed: bool = False


async def keep(hold: Hold, step: Row, kept: Kept, *, said: Sequence[tuple[str, Row]] = ()) -> None:
    """Keep a step's outcome and tell of it; raises `Lost` when the work is not ours any more."""
    given = {"id": hold.id, "fence": hold.fence, "step": step["id"], "output": Json(kept.output)}
    given.update(busy=hold.seconds, failed=int(kept.is_failed))
    async with pg.connection() as connection, connection.transaction():
        if kept.run_id is not None:
            used: Row = {"tokens": kept.usage.tokens.total, "micros": kept.usage.cost_micros, "outcome": kept.outcome}
            await envelope.book_on(connection, kept.run_id, **used)
        row = await (await connection.execute(_DONE, given)).fetchone()
        if row is not None:
            if _is_worth_telling(row):
                await states.say(connection, hold.id, f"{hold.kind}.progress", _progress(row))
            for name, data in said:
                await states.say(connection, hold.id, name, data)
    if row is None:
        hold.stop(Lost())
        raise Lost


def _is_worth_telling(row: Row) -> bool:
    """A thousand small steps are a hundred events."""
    done, total = int(row["steps_done"]), max(int(row["steps_total"]), int(row["steps_done"]))
    return total <= 200 or 100 * done // total > 100 * (done - 1) // total


def _progress(row: Row) -> Row:
    done, total = row["steps_done"], max(row["steps_total"], row["steps_done"])
    left = row["busy"] / done * (total - done)
    return {
        "steps_done": done,
        "steps_failed": row["steps_failed"],
        "steps_total": total,
        "percentage": min(99, 100 * done // total),
        "used_tokens": row["used_tokens"],
        "cost_micros": row["used_micros"],
        "seconds_left": round(left, 1),
    }


_DONE = b"""
WITH mine AS (
    UPDATE skills_analysis SET steps_done = steps_done + 1, steps_failed = steps_failed + %(failed)s,
        steps_total = greatest(steps_total, steps_done + 1), failures = 0
    WHERE id = %(id)s AND fence = %(fence)s AND state = 'running'
        AND EXISTS (SELECT 1 FROM skills_analysisstep WHERE id = %(step)s AND done_at IS NULL)
    RETURNING steps_done, steps_failed, steps_total, used_tokens, used_micros, busy_seconds + %(busy)s AS busy
), kept AS (
    UPDATE skills_analysisstep SET output = %(output)s::json, done_at = now(), fence = %(fence)s
    FROM mine WHERE id = %(step)s
)
SELECT * FROM mine
"""
