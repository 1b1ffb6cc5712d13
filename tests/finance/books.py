"""Days of usage at a desk, and what nobody may do to them."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from django.db import transaction

from tests.usage.desk import Desk, closing_pool, do, lapse, settled
from usage import ledger, rollups

# The triggers that refuse a change are switched off for a moment, as a superuser can.
UNGUARDED = "ALTER TABLE {table} DISABLE TRIGGER USER; {statement}; ALTER TABLE {table} ENABLE TRIGGER USER"


def tamper(statement: str, *, table: str = "usage_event") -> None:
    """Change rows that cannot be changed."""
    do(UNGUARDED.format(table=table, statement=statement))


@contextmanager
def undone() -> Iterator[None]:
    """Within it anything may be changed; nothing of it stays."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def use(desk: Desk, sizes: Sequence[int], *, model: str = "claude-haiku-4-5") -> None:
    """Settle calls of so many input tokens each, at haiku's price, now."""

    async def work() -> None:
        for size in sizes:
            await ledger.settle(await desk.reserve(size, model=model), settled(size))

    asyncio.run(closing_pool(work))
    rollups.refresh()


def estimate(desk: Desk, size: int) -> ledger.Reservation:
    """Leave a call unsettled until the sweep closes it at its bound; it can still be settled."""
    kept: list[ledger.Reservation] = []

    async def work() -> None:
        kept.append(await desk.reserve(size))
        lapse(desk)
        await ledger.sweep()

    asyncio.run(closing_pool(work))
    rollups.refresh()
    return kept[0]


def settle(reservation: ledger.Reservation, tokens: int) -> str:
    """Settle a call with so many input tokens, and return the state that its event has."""

    async def work() -> str:
        return await ledger.settle(reservation, settled(tokens))

    state = asyncio.run(closing_pool(work))
    rollups.refresh()
    return state
