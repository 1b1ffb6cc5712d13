"""What the planner must not choose, whatever it knows."""

from datetime import date

import orjson
import pytest
from django.db import transaction

from tests.usage.conftest import SetClock
from tests.usage.desk import Desk, ask, look, settled
from usage.ledger import Admission, Reservation
from usage.ledger.entries import admission_row, closing_row

pytestmark = pytest.mark.usefixtures("prices")


def opened(desk: Desk, calls: list[Admission]) -> list[Reservation]:
    """Reserve for calls on Django's connection, which keeps the plans it has made."""
    rows = [admission_row(desk.caller, one, ordinal=place) for place, one in enumerate(calls)]
    answers = look("SELECT * FROM usage_apply('[]', %s::jsonb) ORDER BY ordinal", [orjson.dumps(rows).decode()])
    return [
        Reservation(desk.caller, one, month=row["month"], number=row["number"], opened_at=row["opened_at"])
        for one, row in zip(calls, answers, strict=True)
    ]


def read() -> int:
    """Count the rows of the month that this connection has read and not yet reported."""
    (found,) = look(
        "SELECT sum(idx_tup_fetch + seq_tup_read)::bigint AS tuples FROM pg_stat_xact_user_tables"
        " WHERE relname LIKE 'usage_event_2031%%'"
    )
    return int(found["tuples"])


def closed(reservations: list[Reservation]) -> int:
    """Settle events and return how many rows of the month were read for it."""
    rows = [closing_row(one, settled(50), ordinal=place) for place, one in enumerate(reservations)]
    with transaction.atomic():  # within one, nothing is reported
        before = read()
        answers = look("SELECT * FROM usage_apply(%s::jsonb, '[]')", [orjson.dumps(rows).decode()])
        found = read() - before
    assert [row["outcome"] for row in answers] == ["closed"] * len(reservations)
    return found


def test_a_month_without_statistics_is_not_read_through_to_close_an_event(desk: Desk, set_clock: SetClock) -> None:
    """At a month's begin Postgres knows nothing of its partition, and keeps the plans it makes then for a minute."""
    set_clock("2031-05-01 00:00:01+00")
    (first,) = opened(desk, [ask()])
    assert first.month == date(2031, 5, 1)
    alone = closed([first])

    many = opened(desk, [ask() for _ in range(100)])
    assert closed(many[:1]) == alone
    assert closed(many[1:]) <= 99 * alone + 10  # a few may be met twice; read through, it is 10,300
