"""Keys that are pinned to a version."""

from typing import Any

import pytest

from skills import catalog
from skills.models import KeyPin, Skill
from tenants.models import AuditEntry, Tenant
from tests.factories import make_key, make_tenant, outside_of_the_loop
from tests.skills.test_folders import content


@pytest.fixture
def acme(db: None) -> Tenant:
    return make_tenant("acme")


@pytest.fixture
def skill(acme: Tenant) -> Skill:
    """A skill with two versions."""
    made = catalog.create(acme, name="shorten", content=content(), created_by="alice").skill
    catalog.publish(made, content=content(system="Be brief."), created_by="alice")
    return made


def test_a_pin_is_made_replaced_and_taken_away_on_record(skill: Skill, acme: Tenant) -> None:
    key = make_key(acme).key

    for number in (1, 2):
        catalog.pin(key, skill=skill, version=number, actor="ada")
    assert KeyPin.objects.get().version.number == 2
    catalog.unpin(KeyPin.objects.get(), actor="ada")

    assert not KeyPin.objects.exists()
    kept = AuditEntry.objects.filter(action__contains="pinned").order_by("id").values_list("action", "details")
    assert [(action, details.get("before"), details.get("after")) for action, details in kept] == [
        ("key.pinned", {}, {"version": 1}),
        ("key.pinned", {"version": 1}, {"version": 2}),
        ("key.unpinned", {"version": 2}, None),
    ]


@pytest.mark.django_db(transaction=True)
async def test_a_pin_wins_over_labels_and_a_number_over_the_pin(acme: Tenant, skill: Skill) -> None:
    issued = make_key(acme)
    sticky = str(issued.key.pk)

    def prepare() -> None:
        catalog.point(skill, label="production", version=1, actor="ada")
        catalog.point(skill, label="next", version=2, actor="ada")
        catalog.publish(skill, content=content(), created_by="alice")
        catalog.pin(issued.key, skill=skill, version=3, actor="ada")

    outside_of_the_loop(prepare)

    async def number(sticky: str, **how: Any) -> int:
        return (await catalog.resolve(acme.pk, "shorten", sticky=sticky, **how)).number

    assert [await number(sticky), await number(sticky, label="next"), await number(sticky, version=1)] == [3, 3, 1]
    assert [await number("77"), await number("77", label="next")] == [1, 2]
    outside_of_the_loop(lambda: catalog.unpin(KeyPin.objects.get(), actor="ada"))
    assert await number(sticky) == 1
