"""Every address of the tenants' site, tried by each role, nobody and another's owner; one without a row here fails."""

import re
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from django.apps import apps
from django.db.models import Model
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from pytest_django import Settings

from console.lists import TenantList
from console.tenant_console import site as tenant_site
from kit import clock
from skills import catalog
from skills.cases import keeping, starting
from skills.catalog import archives
from tenants import access, budgets, invitations, provider_keys
from tenants.models import ApiKey, AuditEntry, Budget, Membership, Tenant
from tests.console import work
from tests.console.conftest import ROLES, Cast, content
from usage import alerts

pytestmark = pytest.mark.django_db

# Address → the right it needs, and which row its `pk` names ("" for none).
SITE: dict[str, tuple[str, str]] = {
    "": ("overview.see", ""),
    "tenants/apikey/": ("keys.see", ""),
    "tenants/apikey/issue/": ("keys.issue", ""),
    "tenants/apikey/revoke/": ("keys.revoke", ""),
    "tenants/apikey/<int:pk>/": ("keys.see", "key"),
    "tenants/apikey/<int:pk>/terms/": ("keys.change", "key"),
    "tenants/apikey/<int:pk>/rotate/": ("keys.issue", "key"),
    "tenants/apikey/<int:pk>/revoke/": ("keys.revoke", "key"),
    "tenants/auditentry/": ("audit.see", ""),
    "tenants/auditentry/export/": ("audit.see", ""),
    "tenants/auditentry/<int:pk>/": ("audit.see", "entry"),
    "alerts/": ("budgets.see", ""),
    "budgets/": ("budgets.see", ""),
    "budgets/set/": ("budgets.change", ""),
    "budgets/<int:pk>/increase/": ("budgets.change", "budget"),
    "budgets/<int:pk>/remove/": ("budgets.change", "budget"),
    "finance/": ("reports.see", ""),
    "finance/events.csv": ("reports.see", ""),
    "finance/events.xlsx": ("reports.see", ""),
    "finance/focus.csv": ("reports.see", ""),
    "finance/statement.pdf": ("reports.see", ""),
    "months/": ("reports.see", ""),
    "months/close/": ("months.close", ""),
    "months/receipt.json": ("reports.see", ""),
    "alerts/log/": ("audit.see", ""),
    "playground/": ("playground.use", ""),
    "playground/run/": ("playground.use", ""),
    "settings/": ("settings.see", ""),
    "settings/provider-key/": ("settings.provider_key", ""),
    "colleagues/": ("colleagues.see", ""),
    "colleagues/invite/": ("colleagues.change", ""),
    "colleagues/invitations/<int:pk>/withdraw/": ("colleagues.change", "invitation"),
    "colleagues/<int:pk>/role/": ("colleagues.change", "membership"),
    "colleagues/<int:pk>/remove/": ("colleagues.change", "membership"),
    "skills/": ("skills.see", ""),
    "skills/new/": ("skills.author", ""),
    "skills/import/": ("skills.author", ""),
    "skills/check/": ("skills.author", ""),
    "skills/<int:pk>/": ("skills.see", "skill"),
    "skills/<int:pk>/publish/": ("skills.author", "skill"),
    "skills/<int:pk>/diff/": ("skills.see", "skill"),
    "skills/<int:pk>/point/": ("skills.author", "skill"),
    "skills/<int:pk>/rollback/": ("skills.author", "skill"),
    "skills/<int:pk>/gate/": ("skills.gate", "skill"),
    "skills/<int:pk>/export/": ("skills.see", "skill"),
    "skills/<int:pk>/cases/new/": ("skills.author", "skill"),
    "skills/<int:pk>/run/": ("skills.author", "skill"),
    "skills/versions/<int:pk>/": ("skills.see", "version"),
    "skills/cases/<int:pk>/": ("skills.author", "case"),
    "skills/cases/<int:pk>/remove/": ("skills.author", "case"),
    "skills/runs/<int:pk>/": ("skills.see", "case_run"),
    "skills/runs/<int:pk>/progress/": ("skills.see", "case_run"),
    "pins/keys/<int:pk>/": ("keys.change", "key"),
    "pins/<int:pk>/remove/": ("keys.change", "pin"),
    "analyses/": ("analyses.see", ""),
    "analyses/<uuid:pk>/": ("analyses.see", "analysis"),
    "analyses/<uuid:pk>/retry/": ("analyses.retry", "analysis"),
    "webhooks/": ("webhooks.see", ""),
    "webhooks/<uuid:pk>/": ("webhooks.see", "endpoint"),
    "webhooks/<uuid:pk>/rotate/": ("webhooks.change", "endpoint"),
    "webhooks/<uuid:pk>/switch/": ("webhooks.change", "endpoint"),
    "webhooks/deliveries/<uuid:pk>/redeliver/": ("webhooks.change", "delivery"),
}
# About the person alone: every member may, and no row of anyone is named.
ACCOUNT = {"password_change/", "password_change/done/", "second-factor/", "jsi18n/", "search/"}
# Before signing in: nothing of a tenant is there.
PUBLIC = {
    "login/",
    "logout/",
    "password-reset/",
    "password-reset/sent/",
    "password-reset/done/",
    "password-reset/<uidb64>/<token>/",
    "invitations/<str:token>/",
}
# Django's own: the list of an app's models, and the answer to everything else.
DJANGO = {"^(?P<app_label>tenants)/$", "(?P<url>.*)$"}
# List → its filters, and what a search looks into.
LISTS: dict[type, tuple[set[str], set[str]]] = {
    ApiKey: ({"environment__exact", "state"}, {"name", "public_id", "display"}),
    AuditEntry: ({"area", "days"}, {"actor", "subject", "action", "address"}),
}
PROVIDER_KEY = "sk-ant-api03-0123456789abcdef-"
ORACLES = (
    "tenant__slug=globex",
    "tenant=2",
    "tenant__id__exact=2",
    "family__tenant__slug=globex",
    "created_by__password__startswith=pbkdf2",
    "digest__startswith=a",
    "rotated_from__name=x",
    "id__in=1,2",
    "_to_field=digest",
    "_to_field=id&_popup=1",
    "tenant__memberships__user__username=mallory",
)


def routes(patterns: list[Any], prefix: str = "") -> Iterator[str]:
    for pattern in patterns:
        here = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, here)
        elif isinstance(pattern, URLPattern):
            yield here


def addresses(site: str) -> set[str]:
    found: Any = next(one for one in get_resolver().url_patterns if str(one.pattern) == site)
    return set(routes(found.url_patterns))


def rows_of(cast: Cast, owner: str) -> dict[str, Any]:
    """One row of each kind, of Acme or of the other tenant."""
    tenant, people = (cast.acme, "bob") if owner == "acme" else (cast.other, "mallory")
    Tenant.objects.filter(pk=tenant.pk).update(allowed_models=[f"claude-{owner}"])
    tenant.refresh_from_db()
    provider_keys.store(tenant, secret=f"{PROVIDER_KEY}{owner}", now=clock.now(), actor=people)
    by = access.of(cast.users["alice" if owner == "acme" else "mallory"])
    assert by is not None
    invited = invitations.invite(f"new@{owner}.example", role="viewer", by=by, now=clock.now())
    daily = budgets.set_budget(
        tenant, now=clock.now(), window="day", limit_tokens=5_000_000, alert_recipients=[f"books@{owner}.example"]
    )
    key = (cast.key if owner == "acme" else cast.other_key).key
    version = catalog.create(tenant, name="greet", content=content(), created_by=people)
    skill = version.skill
    alerts.raise_alert("spend", once=owner, tenant_id=tenant.pk, title=f"A dear day of {owner}", text=f"Look, {owner}.")
    given: dict[str, Any] = {"tenant": tenant, "given": {"text": f"of {owner}"}, "expect": {}, "actor": people}
    return {
        "skill": skill.pk,
        "version": version.pk,
        "case": keeping.save(skill, name=f"case of {owner}", **given).pk,
        "case_run": starting.start(version, key=key, actor=people)[0].pk,
        "pin": catalog.pin(key, skill=skill, version=1, actor=people).pk,
        "key": (cast.key if owner == "acme" else cast.other_key).key.pk,
        "entry": AuditEntry.objects.filter(tenant=tenant).latest("id").pk,
        "budget": daily.pk,
        "invitation": invited.invitation.pk,
        "membership": Membership.objects.get(user=cast.users[people]).pk,
        **work.rows_of(tenant, (cast.key if owner == "acme" else cast.other_key).key),
    }


def fill(address: str, pk: Any) -> str:
    named = pk if isinstance(pk, UUID) else UUID(int=pk % 2**128)
    return "/admin/" + address.replace("<int:pk>", str(pk)).replace("<uuid:pk>", str(named))


# Every model there is: a new one is watched from its first day.
STATE: list[type[Model]] = [
    model for name in ("tenants", "usage", "skills") for model in apps.get_app_config(name).get_models()
]


def text_of(answer: Any) -> str:
    """Whatever an answer says, streamed or not, as text."""
    content: bytes = b"".join(answer) if answer.streaming else answer.content
    is_archive = answer.headers["Content-Type"] == "application/zip"
    return (b"\n".join(archives.unpack(content).values()) if is_archive else content).decode(errors="replace")


def state() -> dict[str, Any]:
    """Everything that a forged request could have changed."""
    return {model.__name__: list(model._default_manager.order_by("pk").values()) for model in STATE}


def test_every_address_has_a_row() -> None:
    known = {*SITE, *ACCOUNT, *PUBLIC, *DJANGO}

    assert addresses("admin/") == known


def test_every_right_of_an_address_is_in_the_table() -> None:
    assert {right for right, _ in SITE.values()} <= set(access.TABLE)


def test_every_list_is_a_scoped_list_with_its_filters_in_the_matrix() -> None:
    shown: dict[Any, Any] = dict(tenant_site._registry)

    assert all(isinstance(one, TenantList) for one in shown.values())
    assert {model: (set(one.lookups), set(one.search_fields)) for model, one in shown.items()} == LISTS


@pytest.mark.parametrize("name", ROLES)
def test_each_role_gets_what_its_rights_say(cast: Cast, name: str) -> None:
    rows, client = rows_of(cast, "acme"), cast.client(name)
    may = {right for right, allowed in access.TABLE.items() if ROLES[name] in allowed}

    for address, (right, row) in SITE.items():
        answer = client.get(fill(address, rows.get(row, 0)))

        expected = {200, 302} if right in may else {403}
        assert answer.status_code in expected, (address, name, answer.status_code)


@pytest.mark.parametrize("name", ROLES)
def test_a_role_without_the_right_changes_nothing_by_posting(cast: Cast, name: str) -> None:
    rows, client = rows_of(cast, "acme"), cast.client(name)
    may = {right for right, allowed in access.TABLE.items() if ROLES[name] in allowed}
    before = state()

    for address, (right, row) in SITE.items():
        if right not in may:
            answer = client.post(
                fill(address, rows.get(row, 0)), {"reason": "because", "role": "owner", "overlap": "0"}
            )
            assert answer.status_code == 403, (address, name)

    assert state() == before


@pytest.fixture(params=["both walls", "the first alone"])
def _walls(request: pytest.FixtureRequest, settings: Settings) -> None:
    """What the pages ask for must be right without Postgres' help too."""
    if request.param == "the first alone":
        settings.CONSOLE_ROLE = ""


@pytest.mark.usefixtures("_walls")
@pytest.mark.parametrize("method", ["get", "post"])
def test_anothers_row_answers_exactly_as_an_absent_one(cast: Cast, method: str) -> None:
    rows, client = rows_of(cast, "acme"), cast.client("mallory")
    before = state()

    for address, (_, row) in SITE.items():
        if row:
            theirs = getattr(client, method)(fill(address, rows[row]), {"reason": "because"})
            absent = getattr(client, method)(fill(address, 999_999), {"reason": "because"})
            huge = client.get(fill(address, 10**30))
            assert theirs.status_code == absent.status_code == huge.status_code == 404, address
            assert theirs.content == absent.content, address

    assert state() == before


@pytest.mark.usefixtures("_walls")
def test_no_page_of_mallory_names_anything_of_acme(cast: Cast) -> None:
    acme, client = rows_of(cast, "acme"), cast.client("mallory")
    own = rows_of(cast, "globex")
    secrets = ["acme", PROVIDER_KEY.lower(), "alice", "bob@", "fiona", cast.key.key.public_id, cast.key.key.display]
    assert acme.keys() == own.keys()

    for address, (_, row) in SITE.items():
        page = text_of(client.get(fill(address, own.get(row, 0))))
        text = re.sub(r'name="csrfmiddlewaretoken" value="\w+"', "", page).lower()  # chance spells any short word

        assert not [word for word in secrets if word.lower() in text], address


@pytest.mark.parametrize("query", ORACLES)
def test_no_query_string_asks_across_relations(cast: Cast, query: str) -> None:
    client = cast.client("mallory")

    for address in ("tenants/apikey/", "tenants/auditentry/", "tenants/auditentry/export/"):
        answer = client.get(f"/admin/{address}?{query}")
        assert answer.status_code in {302, 400} or b"acme" not in answer.content.lower()
        assert answer.status_code != 500
        if "_to_field" not in query:
            assert answer.status_code in {302, 400}, (address, query, answer.status_code)


@pytest.mark.usefixtures("_walls")
@pytest.mark.parametrize("words", ["acme", "alice", "sg_live_", "key_"])
def test_a_search_finds_ones_own_only(cast: Cast, words: str) -> None:
    client = cast.client("mallory")

    for address in ("tenants/apikey/", "tenants/auditentry/"):
        text = client.get(f"/admin/{address}", {"q": words}).content.decode()
        assert "acme key" not in text
        assert cast.key.key.public_id not in text


@pytest.mark.usefixtures("_walls")
def test_the_export_holds_ones_own_entries_only(cast: Cast) -> None:
    text = cast.client("mallory").get("/admin/tenants/auditentry/export/").content.decode()

    assert cast.other_key.key.public_id in text
    assert cast.key.key.public_id not in text


@pytest.mark.usefixtures("_walls")
def test_bulk_revoking_does_not_reach_another_tenant(cast: Cast) -> None:
    client, both = cast.client("mallory"), [cast.key.key.pk, cast.other_key.key.pk]

    asked = client.post(
        "/admin/tenants/apikey/", {"action": "revoke_selected", "_selected_action": both, "select_across": "0"}
    )
    done = client.post(
        "/admin/tenants/apikey/revoke/", {"chosen": ",".join(str(pk) for pk in both), "reason": "because"}
    )

    assert "acme key" not in asked.content.decode()
    assert done.status_code == 302
    assert ApiKey.objects.get(pk=cast.key.key.pk).revoked_at is None
    assert ApiKey.objects.get(pk=cast.other_key.key.pk).revoked_at is not None


@pytest.mark.usefixtures("_walls")
def test_a_budget_for_anothers_key_is_no_choice(cast: Cast) -> None:
    before = Budget.objects.count()

    answer = cast.client("mallory").post(
        "/admin/budgets/set/",
        {"key": cast.key.key.pk, "skill": "", "window": "day", "limit_tokens": "1", "thresholds": "50"},
    )

    assert answer.status_code == 200
    assert "Select a valid choice" in answer.content.decode()
    assert Budget.objects.count() == before


def test_nothing_posted_makes_anyone_more_than_their_role(cast: Cast) -> None:
    own = Membership.objects.get(user=cast.users["ada"])
    extra = {"is_superuser": "on", "is_staff": "on", "tenant": cast.other.pk, "user": cast.users["mallory"].pk}

    answer = cast.client("ada").post(f"/admin/colleagues/{own.pk}/role/", {"role": "owner", **extra})

    assert "Only an owner" in answer.content.decode()
    own.refresh_from_db()
    cast.users["ada"].refresh_from_db()
    assert (own.role, own.tenant_id, cast.users["ada"].is_superuser) == ("admin", cast.acme.pk, False)


def test_strangers_and_operators_have_no_place_in_a_tenants_console(cast: Cast) -> None:
    rows = rows_of(cast, "acme")

    for address, (_, row) in SITE.items():
        for client in (Client(), cast.client("olga")):
            answer = client.get(fill(address, rows.get(row, 0)))
            assert answer.status_code == 302, address
            assert answer.headers["Location"].startswith("/admin/login/"), address


def test_members_have_no_place_in_operations(cast: Cast) -> None:
    client = cast.client("alice")

    for route in addresses("ops/") - {"login/", "(?P<url>.*)$"}:
        address = re.sub(r"<[a-z]+:\w+>", "1", route).replace("^(?P<app_label>tenants|usage|skills)/$", "tenants/")
        answer = client.get(f"/ops/{address}")
        assert answer.status_code in {302, 404}, route
        if answer.status_code == 302:
            assert answer.headers["Location"].startswith("/ops/"), route
