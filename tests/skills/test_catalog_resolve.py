"""Which version a call gets, for whom, and how soon a move is seen."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import pytest

from kit import clock, coalescing, pg
from kit.errors import InvalidRequest, NotFound
from skills import catalog
from skills.catalog import Content, Version, lookup
from skills.models import Skill
from tenants.models import Tenant

pytestmark = pytest.mark.django_db(transaction=True)
T = TypeVar("T")


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    """Another test's database has other skills under the same ids."""
    for cache in (lookup._cards, lookup._versions, lookup._numbers):
        cache.clear()
    yield
    assert not coalescing._under_way


@pytest.fixture
def acme() -> Tenant:
    return Tenant.objects.create(slug="acme", name="Acme")


@pytest.fixture
def rival() -> Tenant:
    return Tenant.objects.create(slug="rival", name="Rival")


def content(system: str, **changes: Any) -> Content:
    basis: dict[str, Any] = {
        "description": f"{system} Described.",
        "input_schema": {"type": "object", "properties": {"who": {"type": "string"}, "a": {"type": "string"}}},
        "model": "fast",
        "max_tokens": 64,
        "max_tokens_ceiling": 128,
        "template": "{{ who }}",
        "system": system,
    }
    return Content(**{**basis, **changes})


def make(name: str, *systems: str, tenant: Tenant | None = None, promoted: bool = True) -> Skill:
    skill = Skill.objects.create(tenant=tenant, name=name, description=name)
    for system in systems:
        catalog.publish(skill, content=content(system), created_by="test")
    if promoted:
        catalog.point(skill, label="production", version=1, actor="test")
    return skill


def run(work: Callable[[], Awaitable[T]]) -> T:
    async def main() -> T:
        try:
            return await work()
        finally:
            await pg.close()

    return asyncio.run(main())


def resolve(tenant: Tenant, name: str = "greet", *, sticky: str = "k", **how: Any) -> Version:
    return run(lambda: catalog.resolve(tenant.pk, name, sticky=sticky, **how))


def test_a_version_comes_with_everything_a_run_needs(acme: Tenant) -> None:
    skill = make("greet", "One.")
    stored = skill.versions.get()

    version = resolve(acme)

    expected = content("One.")
    assert version == Version(
        id=stored.pk,
        skill_id=skill.pk,
        skill="greet",
        tenant_id=None,
        number=1,
        stored_digest=expected.digest(),
        label="production",
        **expected.as_columns(),
    )
    assert list(version.input_schema["properties"]) == ["who", "a"]
    assert version.digest() == version.stored_digest


def test_by_label_and_by_number(acme: Tenant) -> None:
    skill = make("greet", "One.", "Two.")
    catalog.point(skill, label="next", version=2, actor="test")

    assert (resolve(acme).number, resolve(acme).label) == (1, "production")
    assert (resolve(acme, label="next").number, resolve(acme, label="next").label) == (2, "next")
    assert (resolve(acme, version=2).number, resolve(acme, version=2).label) == (2, None)
    with pytest.raises(InvalidRequest):
        resolve(acme, label="next", version=2)


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("absent", {}),
        ("greet", {"version": 2}),
        ("greet", {"version": 0}),
        ("greet", {"version": -(10**40)}),
        ("greet", {"version": 2**31}),
        ("greet", {"label": "absent"}),
        ("greet", {"label": "\0"}),
        ("\0", {}),
        ("GREET", {}),
        ("a" * 10_000, {}),
        ("' OR true --", {}),
    ],
)
def test_what_is_not_there_is_not_found(acme: Tenant, name: str, how: dict[str, Any]) -> None:
    make("greet", "One.")

    with pytest.raises(NotFound) as refused:
        resolve(acme, name, **how)

    assert len(refused.value.message) < 200


def test_a_foreign_skill_is_exactly_as_absent(acme: Tenant, rival: Tenant) -> None:
    def answers() -> list[tuple[str, dict[str, Any]]]:
        found = []
        for how in ({}, {"label": "production"}, {"version": 1}):
            with pytest.raises(NotFound) as refused:
                resolve(rival, "secret", **how)
            found.append((refused.value.message, refused.value.details))
        with pytest.raises(NotFound) as refused:
            run(lambda: catalog.describe_one(rival.pk, "secret"))
        return [*found, (refused.value.message, refused.value.details)]

    absent = answers()
    make("secret", "One.", tenant=acme)
    catalog.forget()

    assert answers() == absent
    assert resolve(acme, "secret").tenant_id == acme.pk
    assert run(lambda: catalog.describe(rival.pk)) == []


def test_a_tenants_own_skill_shadows_the_built_in_once_it_is_in_production(acme: Tenant, rival: Tenant) -> None:
    make("greet", "Built in.")
    own = make("greet", "Own.", tenant=acme, promoted=False)
    catalog.point(own, label="draft", version=1, actor="alice")

    before = [resolve(acme).system, resolve(acme, version=1).system, resolve(acme, label="draft").system]
    catalog.point(own, label="production", version=1, actor="alice")
    after = [resolve(acme).system, resolve(acme, version=1).system, resolve(rival).system]

    assert before == ["Built in.", "Built in.", "Own."]
    assert after == ["Own.", "Own.", "Built in."]


def test_a_tenant_may_point_its_own_label_into_a_built_in(acme: Tenant, rival: Tenant) -> None:
    skill = make("greet", "One.", "Two.")

    catalog.point(skill, label="production", version=2, tenant=acme, actor="alice")

    assert (resolve(acme).number, resolve(rival).number) == (2, 1)
    assert run(lambda: catalog.describe_one(acme.pk, "greet"))["version"] == 2
    assert run(lambda: catalog.describe_one(rival.pk, "greet"))["version"] == 1


def numbers(tenant: Tenant, stickies: range) -> list[int]:
    async def all_of_them() -> list[int]:
        return [(await catalog.resolve(tenant.pk, "greet", sticky=f"key-{one}")).number for one in stickies]

    return run(all_of_them)


@pytest.mark.parametrize("share", [1, 20, 50])
def test_the_canary_takes_its_share_and_keeps_each_key_on_its_side(acme: Tenant, share: int) -> None:
    skill = make("greet", "One.", "Two.")
    catalog.point(skill, label="canary", version=2, share=share, actor="test")

    first, again = numbers(acme, range(10_000)), numbers(acme, range(10_000))

    assert first == again
    assert abs(first.count(2) - share * 100) < 250  # Five standard deviations at one half.
    assert resolve(acme, label="production").number == 1
    assert resolve(acme, label="canary").number == 2


def test_a_growing_share_keeps_the_keys_it_has(acme: Tenant) -> None:
    skill = make("greet", "One.", "Two.")
    taken: list[set[int]] = []
    for share in (0, 10, 30, 100):
        catalog.point(skill, label="canary", version=2, share=share, actor="test")
        taken.append({key for key, number in enumerate(numbers(acme, range(500))) if number == 2})

    assert taken[0] == set()
    assert taken[0] < taken[1] < taken[2] < taken[3]
    assert len(taken[3]) == 500


def test_skills_draw_different_keys_into_their_canaries(acme: Tenant) -> None:
    cards = [lookup.Card(skill_id, False, {"canary": lookup.Pointer(1, 50, False)}) for skill_id in (1, 2)]

    sides = [[lookup._side(card, sticky=f"key-{one}") for one in range(200)] for card in cards]

    assert sides[0] != sides[1]


def test_a_tenant_that_pinned_production_takes_no_part_in_the_platforms_trial(acme: Tenant, rival: Tenant) -> None:
    skill = make("greet", "One.", "Two.")
    catalog.point(skill, label="canary", version=2, share=100, actor="test")
    catalog.point(skill, label="production", version=1, tenant=acme, actor="alice")

    assert (resolve(acme).number, resolve(rival).number) == (1, 2)

    catalog.point(skill, label="canary", version=2, share=100, tenant=acme, actor="alice")
    assert resolve(acme).number == 2


def test_a_move_is_seen_within_two_seconds_and_at_once_where_it_was_made(
    acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    skill = make("greet", "One.", "Two.")
    time = [100.0]
    monkeypatch.setattr(clock, "monotonic", lambda: time[0])
    assert resolve(acme).number == 1

    skill.labels.update(version=skill.versions.get(number=2))  # As if another process had moved it.
    time[0] = 101.9
    still = resolve(acme).number
    time[0] = 102.0
    moved = resolve(acme).number
    catalog.point(skill, label="production", version=1, actor="test")

    assert (still, moved, resolve(acme).number) == (1, 2, 1)


def test_forget_drops_by_tenant_and_by_name(acme: Tenant, rival: Tenant) -> None:
    make("greet", "One.")
    make("part", "One.")

    def remembered() -> set[tuple[int, str]]:
        return set(lookup._cards)

    for tenant in (acme, rival):
        for name in ("greet", "part"):
            resolve(tenant, name)
    catalog.forget(tenant_id=acme.pk, name="greet")
    assert remembered() == {(acme.pk, "part"), (rival.pk, "greet"), (rival.pk, "part")}
    catalog.forget(name="part")
    assert remembered() == {(rival.pk, "greet")}
    catalog.forget()
    assert remembered() == set()


def test_the_caches_are_bounded(acme: Tenant) -> None:
    cache: lookup._Lru[int, int] = lookup._Lru(3)
    for one in range(10):
        cache.keep(one, one)

    assert list(cache) == [7, 8, 9]


def test_callers_that_miss_together_share_one_read_even_when_the_first_leaves(acme: Tenant) -> None:
    make("greet", "One.")
    read: list[int] = []

    async def together() -> list[Version]:
        loop = asyncio.get_running_loop()
        calls = [
            loop.create_task(catalog.resolve(acme.pk, "greet", sticky=str(one)))  # One after the other, in one turn.
            for one in range(200)
        ]
        await asyncio.sleep(0)
        read.append(len(coalescing._under_way))
        calls[0].cancel()
        return await asyncio.gather(*calls[1:])

    versions = run(together)

    assert read == [1]
    assert {version.number for version in versions} == {1}


def test_what_is_described(acme: Tenant) -> None:
    skill = make("greet", "One.", "Two.")
    catalog.point(skill, label="canary", version=2, share=5, actor="test")
    make("draft", "One.", tenant=acme, promoted=False)
    output = {"type": "object", "properties": {"z": {"type": "string"}, "a": {"type": "string"}}}
    own = make("mine", tenant=acme, promoted=False)
    catalog.publish(own, content=content("Mine.", output_schema=output, model="deep"), created_by="alice")
    catalog.point(own, label="production", version=1, actor="alice")

    described = run(lambda: catalog.describe(acme.pk))

    assert described == [
        {
            "name": "greet",
            "description": "One. Described.",
            "built_in": True,
            "version": 1,
            "labels": {"canary": 2, "production": 1},
            "model": "fast",
            "max_tokens": {"default": 64, "maximum": 128},
            "output": "text",
            "citations": False,
            "input_schema": content("One.").input_schema,
            "output_schema": None,
        },
        {
            "name": "mine",
            "description": "Mine. Described.",
            "built_in": False,
            "version": 1,
            "labels": {"production": 1},
            "model": "deep",
            "max_tokens": {"default": 64, "maximum": 128},
            "output": "json",
            "citations": False,
            "input_schema": content("Mine.").input_schema,
            "output_schema": output,
        },
    ]
    assert list(described[1]["output_schema"]["properties"]) == ["z", "a"]
    assert run(lambda: catalog.describe_one(acme.pk, "mine")) == described[1]
    with pytest.raises(NotFound):
        run(lambda: catalog.describe_one(acme.pk, "draft"))
