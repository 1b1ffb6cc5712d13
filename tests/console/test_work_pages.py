"""Dead letters and webhooks in the console: reasons are seen, what failed is tried again, secrets are shown once."""

import pytest
from standardwebhooks.webhooks import Webhook

from kit import clock
from skills.analyses.models import Analysis, AnalysisEvent, AnalysisStep
from skills.webhooks import signing
from skills.webhooks.models import WebhookDelivery, WebhookEndpoint
from tenants.models import AuditEntry
from tests.console import work
from tests.console.conftest import Cast

pytestmark = pytest.mark.django_db


def test_a_failed_batch_is_listed_with_its_reasons_and_tried_again(cast: Cast) -> None:
    pk = work.rows_of(cast.acme, cast.key.key)["analysis"]
    client = cast.client("ada")
    assert work.REASON["message"] in client.get("/admin/analyses/").content.decode()
    assert "This item was refused." in client.get(f"/admin/analyses/{pk}/").content.decode()

    assert client.post(f"/admin/analyses/{pk}/retry/").status_code == 302

    batch = Analysis.objects.get(pk=pk)
    assert (batch.state, batch.error, batch.steps_done, batch.steps_failed) == ("queued", None, 1, 0)
    undone = AnalysisStep.objects.filter(analysis=pk, done_at=None).order_by("position")
    assert [step.position for step in undone] == [1, 2]
    assert AnalysisEvent.objects.get(analysis=pk).name == "batch.resumed"
    entry = AuditEntry.objects.get(action="analysis.retried")
    assert (entry.tenant, entry.actor, entry.details["items"]) == (cast.acme, "ada", 1)


def test_what_is_under_way_is_not_tried_again(cast: Cast) -> None:
    pk = work.rows_of(cast.acme, cast.key.key)["analysis"]
    Analysis.objects.filter(pk=pk).update(state="queued", ended_at=None, error=None)

    answer = cast.client("ada").post(f"/admin/analyses/{pk}/retry/")

    assert "there is nothing to try again" in answer.content.decode()
    assert AnalysisStep.objects.filter(analysis=pk).exclude(done_at=None).count() == 2


def test_a_new_secret_is_shown_once_and_signs(cast: Cast) -> None:
    pk = work.rows_of(cast.acme, cast.key.key)["endpoint"]
    client = cast.client("alice")

    shown = client.post(f"/admin/webhooks/{pk}/rotate/", {"hours": "1"}).content.decode()

    endpoint = WebhookEndpoint.objects.get(pk=pk)
    secret = signing.secret(endpoint.pk, generation=2)
    assert endpoint.generation == 2
    assert endpoint.previous_until is not None
    assert endpoint.previous_until > clock.now()
    assert secret in shown
    assert secret not in client.get(f"/admin/webhooks/{pk}/").content.decode()
    assert secret not in str(list(AuditEntry.objects.values()))
    Webhook(secret)


def test_a_given_up_message_is_sent_again(cast: Cast) -> None:
    rows = work.rows_of(cast.acme, cast.key.key)
    client = cast.client("ada")
    assert "500" in client.get(f"/admin/webhooks/{rows['endpoint']}/").content.decode()

    client.post(f"/admin/webhooks/deliveries/{rows['delivery']}/redeliver/")

    delivery = WebhookDelivery.objects.get(pk=rows["delivery"])
    assert (delivery.state, delivery.attempts, delivery.ended_at) == ("pending", 0, None)
    assert AuditEntry.objects.filter(action="webhook.redelivered", actor="ada").count() == 1


def test_an_endpoint_is_switched_off_and_on(cast: Cast) -> None:
    pk = work.rows_of(cast.acme, cast.key.key)["endpoint"]
    client = cast.client("ada")

    client.post(f"/admin/webhooks/{pk}/switch/")
    assert WebhookEndpoint.objects.get(pk=pk).is_active is False
    client.post(f"/admin/webhooks/{pk}/switch/")
    assert WebhookEndpoint.objects.get(pk=pk).is_active is True


def test_operators_try_again_what_failed(cast: Cast) -> None:
    rows = work.rows_of(cast.acme, cast.key.key)
    client = cast.client("olga")

    tried = {"action": "retry_selected", "_selected_action": [rows["analysis"]]}
    again = {"action": "redeliver_selected", "_selected_action": [rows["delivery"]]}
    assert client.post("/ops/skills/analysis/", tried).status_code == 302
    assert client.post("/ops/skills/webhookdelivery/", again).status_code == 302

    assert Analysis.objects.get(pk=rows["analysis"]).state == "queued"
    assert WebhookDelivery.objects.get(pk=rows["delivery"]).state == "pending"
    assert set(AuditEntry.objects.filter(actor="olga").values_list("action", flat=True)) >= {
        "analysis.retried",
        "webhook.redelivered",
    }
