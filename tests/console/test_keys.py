"""Keys in the console: issued, shown once, changed, rotated, revoked, listed."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.db import connection
from django.test.utils import CaptureQueriesContext

from kit import clock
from tenants import keys
from tenants.keys import form
from tenants.models import ApiKey, AuditEntry, Budget, Refusal
from tests.console.conftest import Cast
from tests.factories import make_key

pytestmark = pytest.mark.django_db
LIST = "/admin/tenants/apikey/"
TERMS = {
    "name": "web",
    "environment": "live",
    "monthly_token_budget": "1000",
    "requests_per_minute": "60",
    "tokens_per_minute": "1000",
    "concurrent_calls": "2",
    "allowed_verbs": ["run"],
    "allowed_networks": "192.0.2.0/24\n10.0.0.0/8",
    "allowed_models": "",
    "expires_at": "",
}


def secrets_in(text: str) -> list[str]:
    return [found for found in re.findall(r"sg_(?:live|test)_[0-9A-Za-z]{46}", text) if form.is_well_formed(found)]


def test_a_key_is_issued_by_the_verb_and_shown_in_one_response_only(cast: Cast) -> None:
    client = cast.client("ada")

    answer = client.post(f"{LIST}issue/", TERMS)

    key = ApiKey.objects.get(name="web")
    (secret, in_curl) = secrets_in(answer.content.decode())
    assert secret == in_curl
    assert bytes(key.digest) == form.digest(secret, pepper=form_pepper())
    assert "no-store" in answer.headers["Cache-Control"]
    assert (key.tenant_id, key.allowed_verbs, key.allowed_networks) == (
        cast.acme.pk,
        ["run"],
        ["192.0.2.0/24", "10.0.0.0/8"],
    )
    assert Budget.objects.get(key=key).limit_tokens == 1000
    entry = AuditEntry.objects.get(subject=key.public_id)
    assert (entry.action, entry.actor, entry.address) == ("key.issued", "ada", "127.0.0.1")
    kept = str(list(Session.objects.values())) + str(list(AuditEntry.objects.values())) + str(client.cookies)
    assert secret not in kept
    for address in (LIST, f"{LIST}{key.pk}/", "/admin/tenants/auditentry/"):
        assert secret not in client.get(address).content.decode()


def form_pepper() -> str:
    from django.conf import settings

    return str(next(iter(settings.KEY_PEPPERS.values())))


@pytest.mark.parametrize(
    "wrong",
    [{"name": " "}, {"requests_per_minute": "0"}, {"allowed_networks": "home"}, {"expires_at": "2001-01-01T00:00"}],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(cast: Cast, wrong: dict[str, str]) -> None:
    client = cast.client("ada")
    before = (ApiKey.objects.count(), Budget.objects.count(), AuditEntry.objects.count())

    answer = client.post(f"{LIST}issue/", {**TERMS, **wrong})

    assert answer.status_code == 200
    assert not secrets_in(answer.content.decode())
    assert (ApiKey.objects.count(), Budget.objects.count(), AuditEntry.objects.count()) == before


def test_terms_change_for_the_whole_family_with_before_and_after_in_the_log(cast: Cast) -> None:
    first = cast.key.key
    second = keys.rotate(first, overlap=timedelta(hours=1), now=clock.now()).key

    answer = cast.client("ada").post(f"{LIST}{second.pk}/terms/", {**TERMS, "name": "acme key"})

    assert answer.status_code == 302
    assert set(ApiKey.objects.filter(tenant=cast.acme).values_list("requests_per_minute", flat=True)) == {60}
    entry = AuditEntry.objects.get(action="key.changed")
    assert (entry.details["before"]["requests_per_minute"], entry.details["after"]["requests_per_minute"]) == (
        10_000,
        60,
    )


def test_an_ended_key_cannot_be_changed(cast: Cast) -> None:
    keys.revoke(cast.key.key, reason="leaked", now=clock.now())

    answer = cast.client("ada").post(f"{LIST}{cast.key.key.pk}/terms/", TERMS)

    assert "This key has ended" in answer.content.decode()
    assert ApiKey.objects.get(pk=cast.key.key.pk).name == "acme key"


def test_limits_are_tried_on_what_has_been_without_changing_anything(cast: Cast) -> None:
    answer = cast.client("ada").post(f"{LIST}{cast.key.key.pk}/terms/", {**TERMS, "try": "1"})

    assert "There were no calls to try it on" in answer.content.decode()
    assert ApiKey.objects.get(pk=cast.key.key.pk).name == "acme key"


def test_rotation_shows_the_successor_once_and_leaves_an_overlap(cast: Cast) -> None:
    answer = cast.client("ada").post(f"{LIST}{cast.key.key.pk}/rotate/", {"overlap": "6"})

    old = ApiKey.objects.get(pk=cast.key.key.pk)
    successor = ApiKey.objects.get(rotated_from=old)
    assert len(set(secrets_in(answer.content.decode()))) == 1
    assert successor.family_id == old.pk
    assert old.expires_at is not None
    assert timedelta(hours=5, minutes=59) < old.expires_at - clock.now() <= timedelta(hours=6)


def test_revoking_needs_a_reason_and_is_recorded(cast: Cast) -> None:
    client, address = cast.client("ada"), f"{LIST}{cast.key.key.pk}/revoke/"

    assert client.post(address, {"reason": ""}).status_code == 200
    assert ApiKey.objects.get(pk=cast.key.key.pk).revoked_at is None
    assert client.post(address, {"reason": "leaked"}).status_code == 302

    assert ApiKey.objects.get(pk=cast.key.key.pk).revoked_reason == "leaked"
    assert AuditEntry.objects.get(action="key.revoked").actor == "ada"


def test_several_keys_are_revoked_together(cast: Cast) -> None:
    more = [make_key(cast.acme).key.pk for _ in range(3)]
    client = cast.client("ada")

    asked = client.post(LIST, {"action": "revoke_selected", "_selected_action": more})
    chosen = re.search(r'name="chosen" value="([0-9,]+)"', asked.content.decode())
    assert chosen is not None
    assert 'action="/admin/tenants/apikey/revoke/"' in asked.content.decode()
    client.post(f"{LIST}revoke/", {"chosen": chosen[1], "reason": "clean-up"})

    assert ApiKey.objects.filter(revoked_reason="clean-up").count() == 3
    assert ApiKey.objects.get(pk=cast.key.key.pk).revoked_at is None


def test_a_viewer_has_no_action_to_revoke_with(cast: Cast) -> None:
    client = cast.client("bob")

    client.post(LIST, {"action": "revoke_selected", "_selected_action": [cast.key.key.pk]})

    assert "revoke_selected" not in client.get(LIST).content.decode()
    assert ApiKey.objects.get(pk=cast.key.key.pk).revoked_at is None


@pytest.mark.parametrize(
    ("state", "shown"), [("live", {"acme key"}), ("expired", {"old one"}), ("revoked", {"leaked one"})]
)
def test_the_list_filters_by_state(cast: Cast, state: str, shown: set[str]) -> None:
    expired = make_key(cast.acme, name="old one").key
    ApiKey.objects.filter(pk=expired.pk).update(expires_at=clock.now() - timedelta(hours=1))
    keys.revoke(make_key(cast.acme, name="leaked one").key, reason="leaked", now=clock.now())

    text = cast.client("bob").get(LIST, {"state": state}).content.decode()

    assert {name for name in ("acme key", "old one", "leaked one") if name in text} == shown


def test_the_list_shows_refusals_of_this_hour(cast: Cast) -> None:
    hour = clock.now().replace(minute=0, second=0, microsecond=0)
    Refusal.objects.create(tenant=cast.acme, key=cast.key.key, hour=hour, reason="requests", count=4321)
    Refusal.objects.create(
        tenant=cast.acme, key=cast.key.key, hour=hour - timedelta(hours=1), reason="requests", count=777
    )

    text = cast.client("bob").get(LIST).content.decode()

    assert "4321" in text
    assert "777" not in text


@pytest.mark.parametrize(
    "address", [LIST, "/admin/tenants/auditentry/", "/admin/budgets/", "/admin/colleagues/", "/admin/"]
)
def test_a_page_asks_the_database_as_often_for_many_rows_as_for_few(cast: Cast, address: str) -> None:
    client = cast.client("alice")
    few = queries(client, address)

    for _ in range(20):
        make_key(cast.acme)

    assert queries(client, address) == few


def queries(client: Any, address: str) -> int:
    client.get(address)
    with CaptureQueriesContext(connection) as captured:
        assert client.get(address).status_code == 200
    return len(captured)
