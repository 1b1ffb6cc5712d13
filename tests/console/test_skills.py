"""Writing skills in the console: versions, labels, cases, the gate, pins, folders, and who may."""

import io
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import DatabaseError, transaction

from console import walls
from console.skills import diffs
from kit import clock
from skills import catalog
from skills.cases import digests, keeping
from skills.cases.models import CaseResult, CaseRun, ReleaseGate, SkillCase
from skills.catalog import archives, writing
from skills.models import KeyPin, Skill, SkillLabel, SkillLabelMove, SkillVersion
from tenants.models import AuditEntry
from tests.console.conftest import Cast, content
from tests.console.test_skills_drafts import WRITTEN

pytestmark = pytest.mark.django_db
ANSWER = {"type": "object", "properties": {"short": {"type": "string"}}, "required": ["short"]}


@pytest.fixture
def skill(cast: Cast) -> Skill:
    """Acme's own, with two versions of which the first is in production, and a case."""
    made = catalog.create(cast.acme, name="shorten", content=content(), created_by="ada").skill
    catalog.publish(made, content=content(system="Summarize the text kindly."), created_by="ada")
    catalog.point(made, label="production", version=1, actor="ada")
    keeping.save(made, tenant=cast.acme, name="roses", given={"text": "Roses."}, expect={}, actor="ada")
    return made


def ran(cast: Cast, skill: Skill, number: int, *, passed: int = 1, cost: int = 100) -> CaseRun:
    run = CaseRun.objects.create(
        tenant=cast.acme,
        skill=skill,
        version=skill.versions.get(number=number),
        key=cast.key.key,
        actor="ada",
        request_id="req_1",
        cases_digest=digests.of_skill(skill, tenant=cast.acme),
        state="finished",
        ended_at=clock.now(),
        total_cases=1,
        passed_cases=passed,
        cost_micros=cost,
        p50_milliseconds=1234,
    )
    faults = [] if passed else ['does not contain "<b>roses</b>".']
    CaseResult.objects.create(
        tenant=cast.acme, run=run, position=0, name="roses", input={}, expect={}, outcome="passed" if passed else "failed",
        faults=faults, output="<script>alert(1)</script>", milliseconds=1234,
    )  # fmt: skip
    return run


def test_a_skill_is_written_published_and_promoted(cast: Cast) -> None:
    client = cast.client("ada")

    created = client.post("/admin/skills/new/", WRITTEN)

    version = SkillVersion.objects.get()
    assert created.headers["Location"] == f"/admin/skills/{version.skill_id}/"
    assert (version.skill.tenant, version.skill.name, version.number) == (cast.acme, "shorten", 1)
    assert (version.system, version.output_schema, version.policy) == ("Summarize the text.", None, {})
    assert version.created_by == "ada"
    client.post(f"/admin/skills/{version.skill_id}/publish/", {**WRITTEN, "max_tokens": "150"})
    client.post(f"/admin/skills/{version.skill_id}/point/", {"label": "production", "version": "2", "share": "0"})
    assert SkillLabel.objects.get().version.number == 2
    logged = AuditEntry.objects.filter(action__startswith="skill.").order_by("id").values_list("action", "actor")
    assert list(logged) == [
        ("skill.created", "ada"),
        ("skill.published", "ada"),
        ("skill.published", "ada"),
        ("skill.label_moved", "ada"),
    ]
    page = client.get("/admin/skills/").content.decode()
    assert "shorten" in page


def test_a_name_that_is_taken_or_no_name_is_refused(cast: Cast, skill: Skill) -> None:
    for name in ("shorten", "Shorten", "a b", "-a", "x" * 65):
        answer = cast.client("ada").post("/admin/skills/new/", {**WRITTEN, "name": name})
        assert answer.status_code == 200, name

    assert Skill.objects.filter(tenant=cast.acme).count() == 1


def test_the_difference_of_two_versions_is_shown_field_by_field(cast: Cast, skill: Skill) -> None:
    catalog.publish(skill, content=content(max_tokens=50, output_schema=ANSWER), created_by="bob")

    page = cast.client("bob").get(f"/admin/skills/{skill.pk}/diff/?old=2&new=3").content.decode()
    old, new = content(system="a\nb\nc"), content(system="a\nB\nc", max_tokens=50)

    assert [(one.name, one.before, one.after) for one in diffs.changes(old, new)] == [
        ("Output tokens", "200", "50"),
        ("Prompt", "", ""),
    ]
    lines = [(line.kind, line.text) for line in diffs.changes(old, new)[1].lines]
    assert lines[1:] == [("same", "a"), ("removed", "b"), ("added", "B"), ("same", "c")]
    for words in ("Summarize the text kindly.", "<del>200</del> → <ins>50</ins>", "by bob", "Output schema"):
        assert words in page, words


def test_the_order_of_a_schemas_names_is_a_difference() -> None:
    one = content(input_schema={"type": "object", "properties": {"a": {}, "b": {}}})
    other = content(input_schema={"type": "object", "properties": {"b": {}, "a": {}}})

    assert [change.name for change in diffs.changes(one, other)] == ["Input schema"]
    assert diffs.changes(one, one) == []


def test_the_gate_refuses_an_admin_and_an_owner_overrides_with_a_reason(cast: Cast, skill: Skill) -> None:
    ran(cast, skill, 2, passed=0)
    wanted = {"label": "production", "version": "2", "share": "0", "override_reason": "the case is wrong"}

    refused = cast.client("ada").post(f"/admin/skills/{skill.pk}/point/", wanted)
    unexplained = cast.client("alice").post(f"/admin/skills/{skill.pk}/point/", {**wanted, "override_reason": " "})

    assert "Version 2 fails 1 of its 1 cases." in refused.content.decode()
    assert "Version 2 fails 1 of its 1 cases." in unexplained.content.decode()
    assert "override_reason" not in refused.content.decode()
    assert SkillLabel.objects.get().version.number == 1
    assert cast.client("alice").post(f"/admin/skills/{skill.pk}/point/", wanted).status_code == 302
    move = SkillLabelMove.objects.latest("id")
    assert (move.version.number, move.actor, move.override_reason) == (2, "alice", "the case is wrong")
    page = cast.client("bob").get(f"/admin/skills/{skill.pk}/").content.decode()
    assert "gate overridden: the case is wrong" in page
    cast.client("ada").post(f"/admin/skills/{skill.pk}/rollback/", {"label": "production"})
    assert SkillLabel.objects.get().version.number == 1


def test_only_an_owner_changes_the_gate(cast: Cast, skill: Skill) -> None:
    wanted = {"cost_tolerance_percent": "15"}

    assert cast.client("ada").post(f"/admin/skills/{skill.pk}/gate/", wanted).status_code == 403
    assert cast.client("alice").post(f"/admin/skills/{skill.pk}/gate/", wanted).status_code == 302

    gate = ReleaseGate.objects.get()
    assert (gate.needs_passing_cases, gate.cost_tolerance_percent) == (False, 15)
    entry = AuditEntry.objects.get(action="skill.gate_changed")
    assert entry.details["before"] == {"needs_passing_cases": True, "cost_tolerance_percent": None}


def test_a_canary_takes_a_share_and_a_share_must_be_one(cast: Cast, skill: Skill) -> None:
    ran(cast, skill, 2)
    address = f"/admin/skills/{skill.pk}/point/"

    for share in ("101", "-1", "x"):
        cast.client("ada").post(address, {"label": "canary", "version": "2", "share": share})
    cast.client("ada").post(address, {"label": "canary", "version": "2", "share": "25"})

    canary = SkillLabel.objects.get(name="canary")
    assert (canary.version.number, canary.share) == (2, 25)
    assert SkillLabelMove.objects.filter(name="canary").count() == 1


def test_a_tenants_own_label_into_a_built_in_skill_is_its_own(cast: Cast) -> None:
    shared = Skill.objects.create(name="shared", description="Everyone's.")
    for _ in range(2):
        catalog.publish(shared, content=content(), created_by="built in")
    catalog.point(shared, label="production", version=1, actor="system")

    cast.client("ada").post(f"/admin/skills/{shared.pk}/point/", {"label": "production", "version": "2", "share": "0"})

    assert set(shared.labels.values_list("tenant__slug", "version__number")) == {(None, 1), ("acme", 2)}
    assert "the platform" in cast.client("mallory").get(f"/admin/skills/{shared.pk}/").content.decode()
    assert cast.client("ada").get(f"/admin/skills/{shared.pk}/publish/").status_code == 404


def test_cases_are_written_changed_and_removed(cast: Cast, skill: Skill) -> None:
    client = cast.client("ada")
    given = {"name": "lilies", "input": '{"text": "Lilies."}', "expect": '{"contains": "lil", "max_words": 9}'}

    assert client.post(f"/admin/skills/{skill.pk}/cases/new/", given).status_code == 302
    case = SkillCase.objects.get(name="lilies")
    assert (case.input, case.expect) == ({"text": "Lilies."}, {"contains": "lil", "max_words": 9})
    for wrong in (
        {"input": "[]"},
        {"input": "{"},
        {"expect": '{"is": 1}'},
        {"name": "roses"},
        {"expect": '{"a": "\\ud800"}'},
    ):
        assert client.post(f"/admin/skills/cases/{case.pk}/", {**given, **wrong}).status_code == 200
    client.post(f"/admin/skills/cases/{case.pk}/", {**given, "expect": ""})
    case.refresh_from_db()
    assert case.expect == {}
    client.post(f"/admin/skills/cases/{case.pk}/remove/", {})

    assert list(SkillCase.objects.values_list("name", flat=True)) == ["roses"]
    actions = AuditEntry.objects.filter(action__startswith="skill.case_", actor="ada").order_by("id")
    assert [entry.action for entry in actions][1:] == ["skill.case_saved", "skill.case_saved", "skill.case_removed"]


def test_a_run_is_written_with_the_key_chosen_and_shown_beside_production(cast: Cast, skill: Skill) -> None:
    client, newest = cast.client("ada"), skill.versions.get(number=2)

    foreign = client.post(f"/admin/skills/{skill.pk}/run/", {"version": newest.pk, "key": cast.other_key.key.pk})
    started = client.post(f"/admin/skills/{skill.pk}/run/", {"version": newest.pk, "key": cast.key.key.pk})

    assert foreign.status_code == 200
    runs = list(CaseRun.objects.order_by("id"))
    assert [(run.version.number, run.state, run.key) for run in runs] == [
        (2, "queued", cast.key.key),
        (1, "queued", cast.key.key),
    ]
    assert started.headers["Location"] == f"/admin/skills/runs/{runs[0].pk}/"
    page = client.get(started.headers["Location"]).content.decode()
    assert "0 of 1 cases tried" in page
    assert "data-over" not in page


def test_what_a_run_came_to_is_shown_and_escaped(cast: Cast, skill: Skill) -> None:
    ran(cast, skill, 1)
    run = ran(cast, skill, 2, passed=0, cost=150)

    page = cast.client("bob").get(f"/admin/skills/runs/{run.pk}/progress/").content.decode()

    for words in ("0 of 1 cases passed", "+50 %", "$0.00015", "1,234 ms", "data-over", "&lt;script&gt;alert(1)"):
        assert words in page, words
    assert "<script>" not in page
    assert "<b>roses" not in page


def test_a_key_is_pinned_and_unpinned_on_its_page(cast: Cast, skill: Skill) -> None:
    client, pk = cast.client("ada"), cast.key.key.pk

    for wrong in ({"version": "9"}, {"version": "0"}, {"skill": "999999"}):
        assert client.post(f"/admin/pins/keys/{pk}/", {"skill": skill.pk, "version": "2", **wrong}).status_code == 200
    assert client.post(f"/admin/pins/keys/{pk}/", {"skill": skill.pk, "version": "2"}).status_code == 302
    pin = KeyPin.objects.get()
    assert (pin.key, pin.version.number, pin.created_by) == (cast.key.key, 2, "ada")
    assert "version 2" in client.get(f"/admin/tenants/apikey/{pk}/").content.decode()
    client.post(f"/admin/pins/{pin.pk}/remove/", {})

    assert not KeyPin.objects.exists()
    kept = AuditEntry.objects.filter(action__contains="pinned").order_by("id")
    assert [(one.action, one.subject) for one in kept] == [
        ("key.pinned", cast.key.key.public_id),
        ("key.unpinned", cast.key.key.public_id),
    ]


def test_an_exported_archive_imports_as_the_same_version_and_a_changed_one_as_the_next(
    cast: Cast, skill: Skill
) -> None:
    client = cast.client("ada")
    exported = client.get(f"/admin/skills/{skill.pk}/export/?version=2")
    assert exported.headers["Content-Disposition"] == 'attachment; filename="shorten-2.zip"'

    same = take(client, exported.content)
    changed = archives.pack(writing.write_files("shorten", content(system="Be brief.")), folder="shorten")
    take(client, changed)
    other = take(cast.client("mallory"), exported.content)

    assert same.status_code == other.status_code == 302
    assert [one.digest == skill.versions.get(number=2).digest for one in skill.versions.order_by("number")] == [
        False,
        True,
        False,
    ]
    copied = SkillVersion.objects.get(skill__tenant=cast.other)
    assert copied.digest == skill.versions.get(number=2).digest
    assert list(copied.skill.cases.values_list("name", "tenant__slug")) == [("roses", "globex")]
    assert skill.cases.count() == 1


@pytest.mark.parametrize("raw", [b"", b"PK", b"junk" * 2000, b"PK\x05\x06" + b"\0" * 18])
def test_what_is_no_archive_of_a_skill_is_refused_in_words(cast: Cast, raw: bytes) -> None:
    answer = take(cast.client("ada"), raw)

    assert answer.status_code == 200
    assert not Skill.objects.exists()


def take(client: Any, raw: bytes) -> Any:
    return client.post("/admin/skills/import/", {"archive": SimpleUploadedFile("skill.zip", raw)})


def test_behind_the_wall_another_tenants_skill_cannot_be_named(cast: Cast, skill: Skill) -> None:
    rows: list[Any] = [
        SkillCase(tenant=cast.other, skill=skill, name="x", input={}, expect={}, created_by="mallory"),
        ReleaseGate(tenant=cast.other, skill=skill),
    ]

    with walls.within(cast.other.pk):
        for row in rows:
            with pytest.raises(DatabaseError, match="another tenant"), transaction.atomic():
                row.save()
        assert SkillVersion.objects.filter(skill=skill).count() == 0
        assert SkillLabel.objects.filter(skill=skill).count() == 0
        assert SkillCase.objects.count() == 0


def test_a_page_takes_as_many_questions_for_many_skills_as_for_few(
    cast: Cast, skill: Skill, django_assert_max_num_queries: Any
) -> None:
    for number in range(20):
        made = catalog.create(cast.acme, name=f"skill-{number}", content=content(), created_by="ada").skill
        catalog.point(made, label="production", version=1, actor="ada")
    for _ in range(5):
        catalog.publish(skill, content=content(), created_by="ada")
    client = cast.client("bob")

    with django_assert_max_num_queries(16):
        client.get("/admin/skills/")
    with django_assert_max_num_queries(28):
        client.get(f"/admin/skills/{skill.pk}/")


def test_a_huge_upload_is_refused(cast: Cast) -> None:
    packed = io.BytesIO(b"PK\x03\x04" + bytes(archives.MOST_PACKED_BYTES))

    answer = take(cast.client("ada"), packed.getvalue())

    assert "is over 4,194,304 bytes" in answer.content.decode()


def test_behind_the_wall_what_is_everyones_is_read_and_not_written(cast: Cast) -> None:
    shared = Skill.objects.create(name="shared", description="Everyone's.")
    version = catalog.publish(shared, content=content(), created_by="built in")
    catalog.point(shared, label="production", version=1, actor="system")
    forged = content().as_columns() | {"skill": shared, "number": 2, "digest": "x", "created_by": "mallory"}

    with walls.within(cast.other.pk):
        assert SkillLabel.objects.get(skill=shared).version == version
        assert SkillLabel.objects.filter(skill=shared).update(share=5) == 0
        with pytest.raises(DatabaseError, match="row-level security"), transaction.atomic():
            SkillVersion.objects.create(**forged)
        with pytest.raises(DatabaseError, match="row-level security"), transaction.atomic():
            SkillLabel.objects.create(skill=shared, name="mine", version=version)
