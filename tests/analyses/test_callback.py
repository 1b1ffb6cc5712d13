"""Whoever gave a callback is told of the end, by a message that its library verifies."""

import json

import pytest
from standardwebhooks.webhooks import Webhook

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
