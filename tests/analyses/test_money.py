"""An envelope is never exceeded; what waits for money goes on when there is some; cancelled means no more is spent."""

import time
from datetime import datetime, timedelta

import httpx2
import pytest

from kit import clock
from tests.analyses.book import book
from tests.analyses.conftest import Desk
from tests.live import eventually

pytestmark = pytest.mark.usefixtures("workers")


def test_an_envelope_for_two_fifths_pauses_and_a_larger_one_finishes(desk: Desk, leaflet: str) -> None:
    whole = desk.wait(desk.submit({"skill": leaflet, "text": book(pages=20)})["id"])["usage"]["tokens"]
    envelope = int(whole * 0.4)

    submitted = desk.submit({"skill": leaflet, "text": book(pages=20), "max_tokens": envelope})
    paused = desk.wait(submitted["id"], state="awaiting_budget")

    assert paused["error"]["reason"] == "envelope_spent"
    assert 0 < paused["usage"]["tokens"] <= envelope
    assert paused["envelope"]["reserved_tokens"] == 0
    assert 0 < paused["progress"]["steps_done"] < paused["progress"]["steps_total"]

    desk.post(f"analyses/{submitted['id']}/resume", {"max_tokens": whole + 50_000})
    done = desk.wait(submitted["id"])

    assert done["usage"]["tokens"] == whole
    assert (
        len([one for one in desk.calls(submitted["id"]) if one["outcome"] == "done"]) == done["progress"]["steps_done"]
    )


def test_the_last_tokens_of_an_envelope_are_used_by_the_exact_count(desk: Desk) -> None:
    text = book(pages=1)
    whole = desk.wait(desk.submit({"skill": "digest", "text": text})["id"])
    held = desk.live.rows("SELECT max(reserved_tokens) AS most FROM skills_analysiscall")[0]["most"]

    less_than_the_bound = desk.wait(desk.submit({"skill": "digest", "text": text, "max_tokens": held - 500})["id"])

    assert less_than_the_bound["usage"] == whole["usage"]
    assert less_than_the_bound["usage"]["tokens"] <= held - 500


def test_an_attempt_of_which_nothing_is_known_takes_no_more_than_the_envelope_has(desk: Desk) -> None:
    text = book(pages=1)
    wish = {"skill": "digest", "text": text, "instructions": "There is a line that is dead."}
    first, *others = desk.calls(desk.wait(desk.submit(wish)["id"])["id"])
    too_little = first["reserved_tokens"] - 500
    unheard = {"kind": "reset", "count": 9, "marker": "a line that is dead"}
    httpx2.post(f"{desk.live.emulator_url}/_emulator/faults", json=unheard)

    paused = desk.wait(desk.submit({**wish, "max_tokens": too_little})["id"], state="awaiting_budget")

    assert {one["state"] for one in desk.live.events()[1 + len(others) :]} == {"estimated"}
    assert 0 < paused["usage"]["tokens"] <= too_little


def test_an_analysis_without_budget_waits_and_goes_on_by_itself(desk: Desk) -> None:
    from tenants.models import Budget

    budgets = Budget.objects.filter(tenant=desk.live.tenant, key=None)
    before = desk.live.do(lambda: budgets.get().limit_tokens)
    desk.live.do(lambda: budgets.update(limit_tokens=1))

    submitted = desk.submit({"skill": "digest", "text": book(pages=1)})
    waiting = desk.wait(submitted["id"], state="awaiting_budget")
    assert waiting["error"]["type"] == "billing_error"
    assert desk.live.events() == []

    desk.live.do(lambda: budgets.update(limit_tokens=before))
    half_a_minute_passes(desk)
    assert desk.wait(submitted["id"], within=60)["usage"]["tokens"] == desk.paid()[0] > 0


def half_a_minute_passes(desk: Desk) -> None:
    """Let the time be over after which it is tried again."""
    desk.live.rows(
        "UPDATE skills_analysis SET available_at = now() WHERE tenant_id = %s RETURNING id", desk.live.tenant.pk
    )


def test_a_cancelled_analysis_spends_no_more_within_seconds(desk: Desk, leaflet: str) -> None:
    slowly = "[[emulator:latency:3]] Take your time."
    submitted = desk.submit({"skill": leaflet, "text": book(pages=30), "instructions": slowly})
    eventually(lambda: len(desk.live.events()) >= 2, within=60)

    cancelled = desk.post(f"analyses/{submitted['id']}/cancel")
    assert cancelled["state"] == "cancelled"

    def settled() -> bool:
        return (
            all(one["state"] != "open" for one in desk.live.events())
            and not desk.get(f"analyses/{submitted['id']}")["envelope"]["reserved_tokens"]
        )

    eventually(settled, within=15)
    count = len(desk.live.events())
    time.sleep(2)
    assert len(desk.live.events()) == count
    assert desk.get(f"analyses/{submitted['id']}")["usage"]["tokens"] == desk.paid()[0]


def test_a_revoked_key_ends_its_analysis(desk: Desk, leaflet: str) -> None:
    from tenants import keys

    issued = desk.live.issue_key()
    slowly = "[[emulator:latency:3]] Take your time."
    submitted = desk.submit({"skill": leaflet, "text": book(pages=30), "instructions": slowly}, key=issued.secret)
    eventually(lambda: len(desk.live.events()) >= 2, within=60)
    started = time.monotonic()

    desk.live.do(lambda: keys.revoke(issued.key, now=clock.now(), reason="lost", actor="alice"))
    failed = desk.wait(submitted["id"], state="failed", within=10)

    assert time.monotonic() - started < 6
    assert failed["error"]["reason"] == "key_inactive"


def test_a_key_that_expires_or_is_revoked_without_a_word_ends_its_analysis_in_time(desk: Desk, leaflet: str) -> None:
    expires_at = clock.now() + timedelta(seconds=8)
    expiring, revoked = desk.live.issue_key(expires_at=expires_at), desk.live.issue_key()
    slowly = {"skill": leaflet, "text": book(pages=30), "instructions": "[[emulator:latency:60]] Take your time."}
    ids_of = [desk.submit(slowly, key=issued.secret)["id"] for issued in (expiring, revoked)]
    assert eventually(lambda: revoked.key.pk in {one["key_id"] for one in desk.live.events()}, within=60)

    silently = "UPDATE tenants_apikey SET revoked_at = now() WHERE id = %s RETURNING revoked_at"
    (told,) = desk.live.rows(silently, revoked.key.pk)  # no process is told, as when Redis is away
    failed = [desk.wait(one, state="failed", within=40) for one in ids_of]

    assert [one["error"]["reason"] for one in failed] == ["key_inactive"] * 2
    for one, spent_until in zip(failed, (expires_at, told["revoked_at"]), strict=True):
        assert datetime.fromisoformat(one["ended_at"]) - spent_until < timedelta(seconds=15 + 1)
    assert eventually(lambda: all(one["state"] != "open" for one in desk.live.events()), within=20)
