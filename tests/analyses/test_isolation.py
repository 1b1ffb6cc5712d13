"""Every address that names a row of a tenant, tried by another tenant: as absent as one that never was, and unchanged."""

import re
from typing import Any

import httpx2
import pytest

from skills.api.urls import urlpatterns
from tests import factories
from tests.live import Live

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
# What a route's `<str:…>` names → an id of that form that never was. A new one without a row fails.
ABSENT = {
    "name": "not-a-skill",
    "run_id": "run_" + "0" * 22,
    "analysis_id": "ana_" + "0" * 22,
    "batch_id": "bat_" + "0" * 22,
    "endpoint_id": "whe_" + "0" * 22,
    "delivery_id": "msg_" + "0" * 22,
    "model_id": "claude-none",
}


def routes() -> list[str]:
    return [str(one.pattern) for one in urlpatterns if "<" in str(one.pattern)]


def test_every_kind_of_row_that_an_address_names_has_a_row_here() -> None:
    named = {name for route in routes() for name in re.findall(r"<str:(\w+)>", route)}

    assert named <= set(ABSENT)
    assert {"analysis_id", "endpoint_id"} <= named


def test_anothers_webhook_endpoint_is_as_absent_as_one_that_never_was(live: Live) -> None:
    added = live.post("/v1/webhooks", {"url": "https://hooks.example/skillgate"})
    assert added.status_code in {200, 201}, added.text
    own = added.json()["id"]
    before = listed(live, live.key)
    mallory = live.do(lambda: factories.make_key(factories.make_tenant(f"m-{live.tenant.slug}"))).secret
    tried = [route for route in routes() if "<str:endpoint_id>" in route]
    assert tried

    for route in tried:
        theirs, absent = (
            answers(live, fill(route, endpoint_id=one), key=mallory) for one in (own, ABSENT["endpoint_id"])
        )
        assert theirs == absent, route
        assert {status for status, _ in theirs} <= {400, 404, 405}, route

    assert listed(live, mallory) == []
    assert listed(live, live.key) == before


@pytest.mark.parametrize("kind", ["analysis_id", "batch_id", "run_id", "delivery_id"])
def test_what_never_was_is_not_found_by_any_method(live: Live, kind: str) -> None:
    for route in routes():
        if f"<str:{kind}>" in route:
            found = {status for status, _ in answers(live, fill(route), key=live.key)}
            assert found <= {400, 404, 405}, route
            assert 404 in found, route


def fill(route: str, **ids: str) -> str:
    return re.sub(r"<str:(\w+)>", lambda found: {**ABSENT, **ids}[found[1]], route)


def answers(live: Live, address: str, *, key: str) -> list[tuple[int, Any]]:
    headers = {"X-API-Key": key, "X-Request-ID": "req_same"}
    found = [
        httpx2.request(method, f"{live.base_url}/v1/{address}", headers=headers, json={} if method == "POST" else None)
        for method in METHODS
    ]
    return [(one.status_code, one.json()) for one in found]


def listed(live: Live, key: str) -> Any:
    return httpx2.get(f"{live.base_url}/v1/webhooks", headers={"X-API-Key": key}).json()["data"]
