"""Trouble that passes is waited out; what cannot succeed says why, and goes on from where it was when asked to."""

from collections import Counter

import httpx2
import pytest

from tests.analyses.book import book
from tests.analyses.conftest import Desk


@pytest.mark.usefixtures("workers")
def test_passing_trouble_upstream_is_waited_out(desk: Desk, leaflet: str) -> None:
    for kind in ("http_529", "http_500", "drop"):
        fault = {"kind": kind, "count": 1, "marker": "a storm is coming"}
        assert httpx2.post(f"{desk.live.emulator_url}/_emulator/faults", json=fault).status_code < 300

    submitted = desk.submit({"skill": leaflet, "text": book(pages=4), "instructions": "Heed that a storm is coming."})
    done = desk.wait(submitted["id"], within=90)

    outcomes = Counter(one["outcome"] for one in desk.calls(submitted["id"]))
    assert outcomes["done"] == done["progress"]["steps_done"]
    assert outcomes["overloaded_error"] == 1
    assert outcomes["api_error"] == 2
    assert desk.paid()[0] == done["usage"]["tokens"]


@pytest.mark.usefixtures("workers")
def test_what_cannot_succeed_fails_with_its_reason_and_can_be_resumed(desk: Desk) -> None:
    fault = {"kind": "http_400", "count": 1, "marker": "an impossible wish"}
    httpx2.post(f"{desk.live.emulator_url}/_emulator/faults", json=fault)

    submitted = desk.submit({"skill": "digest", "text": book(pages=1), "instructions": "This is an impossible wish."})
    failed = desk.wait(submitted["id"], state="failed")
    assert failed["error"]["reason"] == "upstream_refused"
    assert desk.paid() == (0, 0)

    desk.post(f"analyses/{submitted['id']}/resume")
    assert desk.wait(submitted["id"])["error"] is None
