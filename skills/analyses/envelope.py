"""The money of one analysis: what each call may use is held before it is made, and what it used is booked after it.

`used + reserved` never passes the envelope, and no attempt is made that what is held does not cover, whatever becomes
of it. After a breakdown the ledger says what a call used.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from kit import clock, pg
from kit.errors import BudgetExceeded, SkillgateError, Unavailable
from kit.statements import Connection
from usage import consumed
from usage.ledger import Admission

SPENT = "envelope_spent"

_UNSENT_AFTER = timedelta(seconds=90)  # a call that never reached the ledger by then never will


@dataclass(frozen=True, slots=True)
class Place:
    """Where in an analysis a call belongs, and which hold of a worker makes it."""

    analysis_id: UUID
    fence: int
    level: int
    position: int


@dataclass(slots=True)
class Held:
    """What is held of an envelope for one call, and what its attempts have used of it so far.

    It is the call's purse: there must be enough for what was used and for the whole of one more attempt.
    """

    run_id: UUID
    fence: int
    tokens: int
    micros: int
    used_tokens: int = 0
    used_micros: int = 0

    async def cover(self, asked: Admission) -> None:
        """Hold what one more attempt can use at most; raises `BudgetExceeded`."""
        tokens = max(0, self.used_tokens + asked.tokens - self.tokens)
        micros = max(0, self.used_micros + asked.micros - self.micros)
        if tokens == micros == 0:
            return
        given = {"run": self.run_id, "fence": self.fence, "tokens": tokens, "micros": micros}
        if await pg.execute(_HOLD_MORE, given) != 1:
            raise spent(asked.tokens, asked.micros)
        self.tokens, self.micros = self.tokens + tokens, self.micros + micros

    def spend(self, *, tokens: int, micros: int) -> None:
        """Note what an attempt used."""
        self.used_tokens, self.used_micros = self.used_tokens + tokens, self.used_micros + micros


def spent(tokens: int, micros: int) -> BudgetExceeded:
    """Make the error for a call that needs so much, which is more than an envelope has left."""
    return BudgetExceeded(
        f"What is left of the envelope is less than the next call may need ({tokens} tokens, {micros} micro-dollars). "
        "Resume with a larger `max_tokens` or `max_cost_usd`.",
        reason=SPENT,
    )


async def hold(place: Place, *, run_id: UUID, tokens: int, micros: int) -> Held | None:
    """Hold what a call may use at most; None when it does not fit or the hold is lost."""
    given = {
        "id": place.analysis_id,
        "fence": place.fence,
        "run": run_id,
        "level": place.level,
        "position": place.position,
        "tokens": tokens,
        "micros": micros,
    }
    return Held(run_id, place.fence, tokens, micros) if await pg.execute(_HOLD, given) == 1 else None


async def book(run_id: UUID, *, tokens: int, micros: int, outcome: str) -> None:
    """Book what a call used and let go of what was held for it; doing it again changes nothing."""
    async with pg.connection() as connection:
        await book_on(connection, run_id, tokens=tokens, micros=micros, outcome=outcome)


async def forgo(run_id: UUID, error: SkillgateError) -> None:
    """Book a call that was not admitted: nothing; one that may have been all the same is left for `reconcile`."""
    if not (isinstance(error, Unavailable) and error.may_be_done):
        await book(run_id, tokens=0, micros=0, outcome=error.type)


async def book_on(connection: Connection, run_id: UUID, *, tokens: int, micros: int, outcome: str) -> None:
    """Do what `book` does, within the caller's transaction."""
    await connection.execute(_BOOK, {"run": run_id, "tokens": tokens, "micros": micros, "outcome": outcome[:64]})


async def reconcile(tenant_id: int, analysis_id: UUID) -> int:
    """Book the calls that a lost worker left open, as the ledger has them; returns how many remain."""
    rows = await pg.fetch_all(_OPEN, {"id": analysis_id})
    if not rows:
        return 0
    known = await consumed.of_runs(
        tenant_id, [row["run_id"] for row in rows], since=min(row["opened_at"] for row in rows)
    )
    return sum([await _reconcile(row, known.get(row["run_id"])) for row in rows])


async def _reconcile(row: dict[str, Any], found: consumed.Consumed | None) -> bool:
    if found is None:
        if clock.now() - row["opened_at"] < _UNSENT_AFTER:
            return True
        found = consumed.Consumed(0, 0, is_open=False)
    if found.is_open:
        return True
    await book(row["run_id"], tokens=found.tokens, micros=found.micros, outcome="lost")
    return False


_HOLD = """
WITH held AS (
    UPDATE skills_analysis SET reserved_tokens = reserved_tokens + %(tokens)s, reserved_micros = reserved_micros + %(micros)s
    WHERE id = %(id)s AND fence = %(fence)s AND state = 'running'
        AND (max_tokens IS NULL OR used_tokens + reserved_tokens + %(tokens)s <= max_tokens)
        AND (max_micros IS NULL OR used_micros + reserved_micros + %(micros)s <= max_micros)
    RETURNING id
)
INSERT INTO skills_analysiscall (run_id, analysis_id, level, position, reserved_tokens, reserved_micros, opened_at)
SELECT %(run)s, held.id, %(level)s, %(position)s, %(tokens)s, %(micros)s, now() FROM held
"""
_HOLD_MORE = """
WITH called AS (
    SELECT run_id, analysis_id FROM skills_analysiscall WHERE run_id = %(run)s AND closed_at IS NULL FOR UPDATE
), held AS (
    UPDATE skills_analysis a SET reserved_tokens = reserved_tokens + %(tokens)s, reserved_micros = reserved_micros + %(micros)s
    FROM called WHERE a.id = called.analysis_id AND fence = %(fence)s AND state = 'running'
        AND (max_tokens IS NULL OR used_tokens + reserved_tokens + %(tokens)s <= max_tokens)
        AND (max_micros IS NULL OR used_micros + reserved_micros + %(micros)s <= max_micros)
    RETURNING a.id
)
UPDATE skills_analysiscall c SET reserved_tokens = reserved_tokens + %(tokens)s, reserved_micros = reserved_micros + %(micros)s
FROM held, called WHERE c.run_id = called.run_id
"""
# A call that was booked by reconciliation and comes back after all is booked by the difference.
_BOOK = b"""
WITH old AS (
    SELECT run_id, analysis_id, used_tokens, used_micros, reserved_tokens, reserved_micros, closed_at
    FROM skills_analysiscall WHERE run_id = %(run)s FOR UPDATE
), closed AS (
    UPDATE skills_analysiscall c SET used_tokens = %(tokens)s, used_micros = %(micros)s, outcome = %(outcome)s, closed_at = now()
    FROM old WHERE c.run_id = old.run_id
)
UPDATE skills_analysis a SET
    used_tokens = a.used_tokens + %(tokens)s - old.used_tokens, used_micros = a.used_micros + %(micros)s - old.used_micros,
    reserved_tokens = a.reserved_tokens - CASE WHEN old.closed_at IS NULL THEN old.reserved_tokens ELSE 0 END,
    reserved_micros = a.reserved_micros - CASE WHEN old.closed_at IS NULL THEN old.reserved_micros ELSE 0 END
FROM old WHERE a.id = old.analysis_id
"""
# A call in a message batch is booked when that has ended.
_OPEN = """
SELECT c.run_id, c.opened_at FROM skills_analysiscall c LEFT JOIN skills_messagebatch b ON b.id = c.message_batch_id
WHERE c.analysis_id = %(id)s AND c.closed_at IS NULL AND (b.id IS NULL OR b.state = 'ended')
"""
