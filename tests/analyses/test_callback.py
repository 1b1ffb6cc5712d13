"""Whoever gave a callback is told of the end, by a message that its library verifies."""

import json

import httpx2
import pytest
from standardwebhooks.webhooks import Webhook

from tests import factories
from tests.analyses.conftest import HOOKS, Desk
from tests.analyses.receiver import receiving
from tests.live import eventually


@pytest.mark.usefixtures("workers")
def test_the_callback_is_told_of_the_end_with_a_signature_that_verifies(desk: Desk) -> None:
    with receiving(HOOKS) as receiver:
        given = {"skill": "digest", "text": "The Hatter is late for tea.", "metadata": {"case": "42"}}
        submitted = desk.submit({**given, "callback_url": receiver.url})
        again = desk.submit({**given, "callback_url": receiver.url, "max_tokens": 1})
        desk.wait(submitted["id"])
        desk.wait(again["id"], state="awaiting_budget")
        eventually(lambda: len(receiver.messages) == 2, within=60)

    assert "callback" not in again
    told = [Webhook(submitted["callback"]["secret"]).verify(body, headers) for headers, body in receiver.messages]
    assert {one["type"]: one["data"]["id"] for one in told} == {
        "analysis.succeeded": submitted["id"],
        "analysis.awaiting_budget": again["id"],
    }
    assert all(one["data"]["metadata"] == {"case": "42"} for one in told)
    assert "Hatter" not in json.dumps(told)
    (endpoint,) = desk.get("webhooks")["data"]
    assert {one["state"] for one in desk.get(f"webhooks/{endpoint['id']}")["deliveries"]} == {"delivered"}


def test_another_tenants_webhook_is_as_absent_as_one_that_never_was(desk: Desk) -> None:
    with receiving(HOOKS) as receiver:
        endpoint = desk.post("webhooks", {"url": receiver.url}, status=201)
    mallory = desk.live.do(lambda: factories.make_key(factories.make_tenant(f"m-{desk.live.tenant.slug}"))).secret
    headers = {"X-API-Key": mallory, "X-Request-ID": "req_same"}

    for method, path in (("GET", "{}"), ("DELETE", "{}"), ("POST", "{}/rotate"), ("POST", "deliveries/{}/redeliver")):
        absent = ("msg_" if "deliveries" in path else "whe_") + "0" * 22
        answers = [
            httpx2.request(method, f"{desk.live.base_url}/v1/webhooks/{path.format(name)}", headers=headers)
            for name in (endpoint["id"], absent)
        ]
        assert [one.status_code for one in answers] == [404, 404], path
        assert answers[0].json() == answers[1].json()
    assert httpx2.get(f"{desk.live.base_url}/v1/webhooks", headers=headers).json()["data"] == []
    assert desk.get(f"webhooks/{endpoint['id']}")["is_active"] is True
