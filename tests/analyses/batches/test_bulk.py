"""Work by Message Batches: half the price, nothing paid twice, and what fails there is done like any other."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
from django.conf import settings

from kit import ids
from skills.analyses import worker
from tests.analyses.batches.test_batches import ended, item, results, submit
from tests.analyses.book import book
from tests.analyses.conftest import Desk
from tests.live import eventually

Row = dict[str, Any]


@pytest.fixture
def slowly(desk: Desk) -> Iterator[Callable[[int], None]]:
    """How long message batches take from now on."""

    def set_pace(milliseconds: int) -> None:
        httpx2.post(f"{desk.live.emulator_url}/_emulator/settings", json={"batch_ms": milliseconds})

    yield set_pace
    set_pace(0)


def batches(desk: Desk) -> list[Row]:
    return desk.live.rows("SELECT * FROM skills_messagebatch ORDER BY id")


def worked(desk: Desk, batch: Row) -> str | None:
    """Work on a batch in this process, and return how it was left."""
    from skills.analyses import engine

    batch_id = ids.decode("bat", batch["id"])
    assert batch_id is not None
    desk.live.rows("UPDATE skills_analysis SET available_at = now() WHERE id = %s RETURNING id", batch_id)
    return desk.live.do(lambda: worker.run(lambda: engine.work(batch_id)))


def set_rate(desk: Desk, requests_per_minute: int) -> None:
    query = "UPDATE tenants_apikey SET requests_per_minute = %s WHERE tenant_id = %s RETURNING id"
    assert desk.live.rows(query, requests_per_minute, desk.live.tenant.pk)


def tiers(desk: Desk) -> list[str]:
    return [entry["service_tier"] for entry in desk.live.journal()]


@pytest.mark.usefixtures("workers")
def test_a_batch_in_bulk_costs_half_and_agrees_with_the_journal(desk: Desk) -> None:
    items = [item(number) for number in range(12)]
    plain = ended(desk, submit(desk, items))
    done = ended(desk, batch := submit(desk, items, processing="bulk"))

    assert done["usage"]["tokens"] == plain["usage"]["tokens"]
    assert abs(done["usage"]["cost_micros"] - plain["usage"]["cost_micros"] / 2) <= len(items)
    assert [one["output"] for one in results(desk, batch)] == [one["output"] for one in results(desk, plain)]
    assert [one["id"] for one in results(desk, batch)] == [one["id"] for one in items]
    assert tiers(desk) == ["standard"] * 12 + ["batch"] * 12
    assert {event["state"] for event in desk.live.events()} == {"settled"}
    assert [event["service_tier"] for event in desk.live.events()] == tiers(desk)
    assert desk.paid()[0] == desk.journaled() == 2 * done["usage"]["tokens"]
    assert [one["state"] for one in batches(desk)] == ["ended"]


@pytest.mark.usefixtures("workers")
def test_an_analysis_reads_its_parts_in_bulk(desk: Desk, leaflet: str) -> None:
    done = desk.wait(desk.submit({"skill": leaflet, "text": book(pages=6), "processing": "bulk"})["id"], within=120)

    assert desk.result(done["id"])["citations"]
    assert tiers(desk).count("batch") >= 6
    assert tiers(desk).count("standard") >= 1
    assert (done["usage"]["tokens"], done["usage"]["cost_micros"]) == desk.paid()
    assert desk.paid()[0] == desk.journaled()
    assert done["envelope"]["reserved_tokens"] == 0


@pytest.mark.usefixtures("workers")
def test_what_fails_in_a_message_batch_is_done_like_any_other_item(desk: Desk) -> None:
    for kind in ("expired", "http_500"):
        fault = {"kind": kind, "count": 1, "marker": f"it was {kind}"}
        httpx2.post(f"{desk.live.emulator_url}/_emulator/faults", json=fault)
    items = [item(0), item(1, text="Then it was expired."), item(2, text="Then it was http_500.")]

    done = ended(desk, submit(desk, items, processing="bulk"))

    assert (done["items"]["succeeded"], done["items"]["failed"]) == (3, 0)
    assert sorted(tiers(desk)) == ["batch", "standard", "standard"]
    assert sorted(event["state"] for event in desk.live.events()) == ["released", "released", *["settled"] * 3]
    assert done["usage"]["tokens"] == desk.paid()[0] == desk.journaled()


@pytest.mark.usefixtures("workers")
def test_a_cancelled_batch_is_cancelled_upstream_and_what_was_held_is_given_back(
    desk: Desk, slowly: Callable[[int], None]
) -> None:
    slowly(600_000)
    batch = submit(desk, [item(number) for number in range(5)], processing="bulk")
    assert eventually(lambda: [one for one in batches(desk) if one["state"] == "in_progress"], within=60)

    desk.post(f"batches/{batch['id']}/cancel")

    assert eventually(lambda: batches(desk)[0]["state"] == "ended", within=60)
    assert desk.paid() == (0, 0)
    assert {event["state"] for event in desk.live.events()} == {"released"}
    assert desk.get(f"batches/{batch['id']}")["envelope"]["reserved_tokens"] == 0
    assert desk.live.journal() == []


@pytest.mark.usefixtures("workers")
def test_leases_are_renewed_for_as_long_as_claude_takes(desk: Desk, slowly: Callable[[int], None]) -> None:
    slowly(600_000)
    batch = submit(desk, [item(0)], processing="bulk")
    assert eventually(lambda: [one for one in batches(desk) if one["state"] == "in_progress"], within=60)
    (before,) = desk.live.events()

    assert eventually(lambda: desk.live.events()[0]["lease_until"] > before["lease_until"], within=60)
    desk.post(f"batches/{batch['id']}/cancel")
    assert eventually(lambda: batches(desk)[0]["state"] == "ended", within=60)


@pytest.mark.usefixtures("no_workers")
def test_calls_in_bulk_count_against_the_rate_and_leave_some_of_it_to_others(desk: Desk) -> None:
    desk.live.emulator_url = settings.ANTHROPIC_BASE_URL  # the work is done in this process, which has its own
    set_rate(desk, 4)
    batch = submit(desk, [item(number) for number in range(5)], processing="bulk")

    assert worked(desk, batch) == "queued"
    assert len(desk.live.events()) == 3
    assert worked(desk, batch) == "queued"
    assert len(desk.live.events()) == 4, "what others leave is taken one by one"
    set_rate(desk, 1000)
    assert eventually(lambda: worked(desk, batch) == "succeeded", within=60)

    assert [one["status"] for one in results(desk, batch)] == ["succeeded"] * 5
    assert tiers(desk) == ["batch"] * 5
    assert len(batches(desk)) == 3
    assert desk.paid()[0] == desk.journaled()


@pytest.mark.usefixtures("no_workers")
@pytest.mark.parametrize("is_taken", [True, False], ids=["taken by upstream", "never sent"])
def test_a_worker_that_dies_while_it_sends_neither_loses_nor_repeats_a_call(desk: Desk, is_taken: bool) -> None:
    desk.live.emulator_url = settings.ANTHROPIC_BASE_URL  # the work is done in this process, which has its own
    batch = submit(desk, [item(number) for number in range(3)], processing="bulk")
    if not is_taken:  # the creation is refused in a way that tells nothing
        fault = {"kind": "reset", "count": 1, "path": "/v1/messages/batches"}
        httpx2.post(f"{desk.live.emulator_url}/_emulator/faults", json=fault)

    assert worked(desk, batch) == "queued"
    forgotten = "UPDATE skills_messagebatch SET upstream_id = '', state = 'creating' RETURNING id"
    desk.live.rows(forgotten)
    desk.live.rows("UPDATE skills_messagebatch SET created_at = created_at - interval '70 seconds' RETURNING id")
    assert eventually(lambda: worked(desk, batch) == "succeeded", within=60)

    found = results(desk, batch)
    assert [one["status"] for one in found] == ["succeeded"] * 3
    assert tiers(desk) == ["batch"] * 3
    assert desk.paid()[0] == desk.journaled()
    assert len(batches(desk)) == (1 if is_taken else 2)
