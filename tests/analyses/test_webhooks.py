"""Webhooks are signed as their receivers' library expects, tried again, and never sent into our own network."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from kit import clock, ids
from skills.analyses.worker import run
from skills.webhooks import delivery, endpoints, signing
from skills.webhooks.models import WebhookDelivery, WebhookEndpoint
from tests import factories
from tests.analyses.receiver import Receiver, receiving

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving("127.0.0.1") as made:
        yield made


@pytest.fixture
def _loopback(settings: Any) -> None:
    settings.WEBHOOK_ALLOWED_NETWORKS = ["127.0.0.0/8"]


@pytest.fixture
def endpoint(receiver: Receiver, _loopback: None) -> dict[str, Any]:
    tenant = factories.make_tenant("acme")
    row, secret = run(lambda: endpoints.add(tenant.pk, receiver.url))
    return {**row, "secret": secret}


def queue(endpoint: dict[str, Any]) -> WebhookDelivery:
    return WebhookDelivery.objects.create(
        id=ids.uuid7(),
        tenant_id=endpoint["tenant_id"],
        endpoint_id=endpoint["id"],
        event="analysis.succeeded",
        payload={"type": "analysis.succeeded", "data": {"id": "ana_1", "word": "Tee für zwei"}},
    )


def test_a_message_verifies_with_the_secret_that_was_shown_once(receiver: Receiver, endpoint: dict[str, Any]) -> None:
    sent = queue(endpoint)

    assert run(delivery.deliver_due) == 1

    headers, body = receiver.messages[0]
    assert Webhook(endpoint["secret"]).verify(body, headers) == sent.payload
    assert headers["webhook-id"] == ids.encode("msg", sent.id)
    sent.refresh_from_db()
    assert (sent.state, sent.log[0]["status"]) == ("delivered", 200)
    assert run(lambda: endpoints.add(endpoint["tenant_id"], receiver.url))[1] is None
    stored = json.dumps(list(WebhookEndpoint.objects.values()), default=str)
    assert endpoint["secret"].removeprefix("whsec_") not in stored


def test_a_rotated_secret_signs_beside_the_old_one_for_the_overlap(
    receiver: Receiver, endpoint: dict[str, Any]
) -> None:
    from datetime import timedelta

    _, newer = run(
        lambda: endpoints.rotate(endpoint["tenant_id"], endpoint["id"], overlap=timedelta(hours=1), now=clock.now())
    )
    queue(endpoint)
    run(delivery.deliver_due)
    headers, body = receiver.messages[0]
    for secret in (endpoint["secret"], newer):
        assert Webhook(secret).verify(body, headers)

    WebhookEndpoint.objects.update(previous_until=clock.now())
    queue(endpoint)
    run(delivery.deliver_due)
    headers, body = receiver.messages[1]
    assert Webhook(newer).verify(body, headers)
    assert len(headers["webhook-signature"].split()) == 1


def test_a_failed_message_is_tried_again_on_schedule_and_then_given_up(
    receiver: Receiver, endpoint: dict[str, Any]
) -> None:
    sent = queue(endpoint)
    receiver.statuses = [500] * (len(delivery.SCHEDULE) + 1)

    for wait in delivery.SCHEDULE:
        assert run(delivery.deliver_due) == 1
        sent.refresh_from_db()
        assert sent.state == "pending"
        assert abs((sent.next_at - clock.now()).total_seconds() - wait) < 3
        assert run(delivery.deliver_due) == 0
        WebhookDelivery.objects.update(next_at=clock.now())
    run(delivery.deliver_due)

    sent.refresh_from_db()
    assert sent.state == "dead"
    assert len({headers["webhook-id"] for headers, _ in receiver.messages}) == 1
    assert 86_400 > sum(delivery.SCHEDULE) > 80_000

    run(lambda: delivery.redeliver(endpoint["tenant_id"], sent.id))
    run(delivery.deliver_due)
    sent.refresh_from_db()
    assert sent.state == "delivered"


def test_gone_disables_and_a_redirect_is_not_followed(receiver: Receiver, endpoint: dict[str, Any]) -> None:
    receiver.statuses = [302, 410]
    sent = queue(endpoint)
    run(delivery.deliver_due)
    sent.refresh_from_db()
    assert (sent.state, len(receiver.messages)) == ("pending", 1)

    WebhookDelivery.objects.update(next_at=clock.now())
    run(delivery.deliver_due)
    sent.refresh_from_db()
    assert sent.state == "dead"
    assert WebhookEndpoint.objects.get().is_active is False
    queue(endpoint)
    assert run(delivery.deliver_due) == 0


def test_a_secret_is_its_endpoints_alone() -> None:
    one, other = ids.uuid7(), ids.uuid7()

    secrets = {
        signing.secret(one, generation=1),
        signing.secret(one, generation=2),
        signing.secret(other, generation=1),
    }

    assert len(secrets) == 3
