"""Tasks, gauges and the schema's own guards."""

from io import StringIO

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection
from prometheus_client import REGISTRY
from psycopg.errors import CheckViolation

from config.celery import app
from tests.usage.desk import Desk, account, do, events, lapse, look, settled
from usage import ledger, metrics, partitions, tasks


def gauge(name: str) -> float | None:
    return REGISTRY.get_sample_value(f"skillgate_ledger_{name}")


async def test_gauges_tell_what_is_open_and_whether_the_sweep_is_due(desk: Desk) -> None:
    await metrics.refresh()
    assert (gauge("open_events"), gauge("lapsed_events"), gauge("oldest_lapse_seconds")) == (0, 0, 0)
    await desk.reserve(10)
    await desk.reserve(10)
    do("UPDATE usage_event SET lease_until = usage_clock() - interval '5 minutes' WHERE number = 1")

    await metrics.refresh()

    assert (gauge("open_events"), gauge("lapsed_events")) == (2, 1)
    assert 300 <= (gauge("oldest_lapse_seconds") or 0) < 310
    before = gauge("swept_total") or 0
    await ledger.sweep()
    await metrics.refresh()
    assert (gauge("open_events"), gauge("lapsed_events")) == (1, 0)
    assert gauge("swept_total") == before + 1


async def test_batches_are_measured(desk: Desk) -> None:
    def count() -> float:
        return REGISTRY.get_sample_value("skillgate_batch_items_count", {"lane": "ledger"}) or 0

    before = count()
    await desk.reserve(10)

    assert count() == before + 1


@pytest.mark.parametrize(
    "name",
    [
        "usage.sweep",
        "usage.make_partitions",
        "usage.raise_budget_alerts",
        "usage.refresh_rollups",
        "usage.verify_ledger",
        "usage.raise_spend_alerts",
        "usage.seal_days",
        "usage.close_months",
        "usage.reconcile",
    ],
)
def test_every_task_of_the_timetable_runs_on_an_empty_database(prices: None, name: str) -> None:
    app.loader.import_default_modules()

    app.tasks[name].apply(throw=True)

    assert name in {entry["task"] for entry in app.conf.beat_schedule.values()}


def test_partitions_are_made_once(prices: None, set_clock: object) -> None:
    do("DROP TABLE IF EXISTS usage_event_2041_05, usage_event_2041_06, usage_event_2041_07")
    make = "SELECT usage_make_partitions('2041-05-17', 3) AS made"

    assert [look(make)[0]["made"] for _ in range(2)] == [3, 0]
    tasks.make_partitions()
    assert partitions.strays() == 0


async def test_a_closed_event_can_neither_be_edited_nor_removed(desk: Desk) -> None:
    await ledger.settle(await desk.reserve(10), settled(5))
    before = events(desk)

    for statement in ("UPDATE usage_event SET charged_tokens = 0, input_tokens = 0", "DELETE FROM usage_event"):
        with pytest.raises(IntegrityError):
            do(statement)

    assert events(desk) == before


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("state_is_known", "state = 'closed'"),
        ("is_closed_with_a_time", "state = 'settled'"),
        ("is_closed_with_a_time", "closed_at = now()"),
        ("month_is_of_its_day", "day = day + 40"),
        ("reserves_something", "reserved_tokens = 0, reserved_output_tokens = 0"),
        ("reserves_something", "reserved_output_tokens = reserved_tokens + 1"),
        ("reserves_something", "reserved_output_tokens = -1"),
        ("reserves_something", "reserved_micros = -1"),
        ("from_the_cache_is_free", "purpose = 'cached'"),
        (
            "charge_is_the_sum_of_its_classes",
            "state = 'settled', closed_at = now(), charged_tokens = 5, output_tokens = 4",
        ),
        (
            "charge_is_the_sum_of_its_classes",
            "state = 'settled', closed_at = now(), input_tokens = -1, cache_read_tokens = 1",
        ),
        ("charge_is_the_sum_of_its_classes", "state = 'settled', closed_at = now(), cost_micros = -1"),
        ("uncharged_until_closed", "charged_tokens = 5, output_tokens = 5"),
        ("uncharged_until_closed", "state = 'released', closed_at = now(), cost_micros = 1"),
    ],
)
async def test_no_event_says_what_cannot_be(desk: Desk, rule: str, change: str) -> None:
    await desk.reserve(10)
    before = events(desk)

    copy = "CREATE TEMPORARY TABLE forged ON COMMIT DROP AS SELECT * FROM usage_event;"
    anew = "UPDATE forged SET id = gen_random_uuid(), number = number + 1;"
    forged = f"{copy} {anew} UPDATE forged SET {change}; INSERT INTO usage_event SELECT * FROM forged"

    for statement in (f"UPDATE usage_event SET {change}", forged):
        with pytest.raises(IntegrityError) as refused:
            do(statement)
        assert isinstance(refused.value.__cause__, CheckViolation)
        assert refused.value.__cause__.diag.constraint_name == f"usage_event_{rule}"

    assert events(desk) == before


async def test_an_open_event_cannot_be_removed_either(desk: Desk) -> None:
    await desk.reserve(10)

    with pytest.raises(IntegrityError):
        do("DELETE FROM usage_event")

    assert len(events(desk)) == 1


async def test_a_sweep_takes_no_more_than_it_is_told_and_the_next_goes_on(desk: Desk) -> None:
    for _ in range(5):
        await desk.reserve(10)
    lapse(desk)

    assert [await ledger.sweep(most=2) for _ in range(4)] == [2, 2, 1, 0]
    assert account(desk)["settled_tokens"] == 50


def test_the_ledger_can_be_unmade_and_made_again(transactional_db: None) -> None:
    call_command("migrate", "usage", "0001", stdout=StringIO())
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT proname FROM pg_proc WHERE proname LIKE 'usage\\_%'")
            assert cursor.fetchall() == []
            cursor.execute(
                "SELECT typname FROM pg_type WHERE typname IN ('usage_call', 'usage_closing', 'usage_answer')"
            )
            assert cursor.fetchall() == []
    finally:
        call_command("migrate", "usage", stdout=StringIO())
