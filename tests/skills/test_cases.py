"""Cases: written, run on the one line, measured at the gate; and keys that are pinned."""

from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction

from kit import clock
from kit.errors import Conflict, InvalidRequest, NotFound
from skills import catalog, tasks
from skills.cases import digests, keeping, starting
from skills.cases.models import CaseResult, CaseRun, ReleaseGate, SkillCase
from skills.catalog import Content, gate
from skills.models import KeyPin, Skill, SkillLabel, SkillLabelMove, SkillVersion
from tenants import keys
from tenants.models import ApiKey, AuditEntry, Tenant
from tests.factories import make_key, make_tenant

SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
LONG = "Take care to be exact. " * 300


def content(**changes: Any) -> Content:
    basis: dict[str, Any] = {
        "description": "Shortens.",
        "input_schema": SCHEMA,
        "model": "fast",
        "max_tokens": 200,
        "max_tokens_ceiling": 400,
        "system": "Summarize the text.",
        "template": "<text>\n{{ text }}\n</text>\n\nSummarize the text in at most 20 words.",
    }
    return Content(**{**basis, **changes})


@pytest.fixture
def acme(db: None) -> Tenant:
    return make_tenant("acme")


@pytest.fixture
def skill(acme: Tenant) -> Skill:
    """A skill with two versions, the second long-winded, and a case that both pass."""
    made = catalog.create(acme, name="shorten", content=content(), created_by="alice").skill
    catalog.publish(made, content=content(system=f"Summarize the text. {LONG}"), created_by="alice")
    add(made, "roses", {"contains": "roses"})
    return made


def add(skill: Skill, name: str, expect: Any, text: str = "She grows roses. They are red.") -> SkillCase:
    tenant = Tenant.objects.get(slug="acme")
    return keeping.save(skill, tenant=tenant, name=name, given={"text": text}, expect=expect, actor="alice")


def version(skill: Skill, number: int) -> SkillVersion:
    return SkillVersion.objects.select_related("skill").get(skill=skill, number=number)


def run_row(skill: Skill, number: int, *, passed: int = 1, total: int = 1, cost: int = 100, **columns: Any) -> CaseRun:
    """A run that has ended, as a worker leaves it."""
    tenant = Tenant.objects.get(slug="acme")
    given: dict[str, Any] = {
        "key": ApiKey.objects.filter(tenant=tenant).first() or make_key(tenant).key,
        "state": "finished",
        "ended_at": clock.now(),
        "cases_digest": digests.of_skill(skill, tenant=tenant),
        **columns,
    }
    return CaseRun.objects.create(
        tenant=tenant,
        skill=skill,
        version=version(skill, number),
        actor="alice",
        request_id="req_1",
        total_cases=total,
        passed_cases=passed,
        cost_micros=cost,
        **given,
    )


def point(skill: Skill, number: int, label: str = "production", **options: Any) -> SkillLabel:
    return catalog.point(skill, label=label, version=number, actor="ada", **options)


def set_gate(skill: Skill, **wanted: Any) -> ReleaseGate:
    given = {"needs_passing_cases": True, "cost_tolerance_percent": None, **wanted}
    return gate.set_gate(skill, tenant=Tenant.objects.get(slug="acme"), actor="alice", **given)


@pytest.mark.django_db(transaction=True)
def test_a_run_tries_every_case_on_the_one_line_and_compares_with_production(skill: Skill, acme: Tenant) -> None:
    call_command("load_prices", verbosity=0)
    key = make_key(acme)
    set_gate(skill, needs_passing_cases=False, cost_tolerance_percent=None)
    point(skill, 1)
    add(skill, "lilies", {"contains": "lilies"})
    add(skill, "a number", {}, text="It is 5.")

    started = starting.start(version(skill, 2), key=key.key, actor="alice", address="192.0.2.9", request_id="req_7")
    for run in started:
        tasks.run_cases(run.pk)
        tasks.run_cases(run.pk)

    new, old = (CaseRun.objects.get(pk=run.pk) for run in started)
    assert [(run.version.number, run.state, run.passed_cases, run.total_cases) for run in (new, old)] == [
        (2, "finished", 2, 3),
        (1, "finished", 2, 3),
    ]
    results = list(CaseResult.objects.filter(run=new).order_by("position"))
    assert [(one.name, one.outcome, one.faults) for one in results] == [
        ("roses", "passed", []),
        ("lilies", "failed", ['does not contain "lilies".']),
        ("a number", "passed", []),
    ]
    assert "roses" in results[0].output
    assert all(one.milliseconds and one.milliseconds > 0 for one in results)
    assert new.p50_milliseconds == sorted(one.milliseconds or 0 for one in results)[1]
    assert new.cost_micros > 2 * old.cost_micros > 0
    booked = events("case")
    assert len(booked) == 6
    assert {(row["skill"], row["key_id"], row["request_id"]) for row in booked} == {("shorten", key.key.pk, "req_7")}
    assert sum(row["cost_micros"] for row in booked) == new.cost_micros + old.cost_micros
    assert starting.start(version(skill, 2), key=key.key, actor="alice")[1:] == []


@pytest.mark.django_db(transaction=True)
def test_a_kept_answer_does_not_make_a_version_look_free(skill: Skill, acme: Tenant) -> None:
    call_command("load_prices", verbosity=0)
    key = make_key(acme).key
    kept = catalog.publish(skill, content=content(policy={"cache": {"ttl_seconds": 600}}), created_by="alice")

    costs = []
    for _ in range(2):
        (run,) = starting.start(version(skill, kept.number), key=key, actor="alice")
        tasks.run_cases(run.pk)
        costs.append(CaseRun.objects.get(pk=run.pk).cost_micros)

    assert costs[0] == costs[1] > 0
    assert len(events("case")) == 2


def events(entry_point: str) -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM usage_event WHERE entry_point = %s", [entry_point])
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


@pytest.mark.django_db(transaction=True)
def test_a_run_that_cannot_go_on_fails_and_says_why(skill: Skill, acme: Tenant) -> None:
    call_command("load_prices", verbosity=0)
    poor, revoked, narrow = (
        make_key(acme, monthly_token_budget=1),
        make_key(acme),
        make_key(acme, allowed_skills=["chat"]),
    )
    started = [starting.start(version(skill, 1), key=one.key, actor="alice")[0] for one in (poor, revoked, narrow)]
    keys.revoke(revoked.key, reason="lost", now=clock.now())

    for run in started:
        tasks.run_cases(run.pk)

    ended = [CaseRun.objects.get(pk=run.pk) for run in started]
    assert {run.state for run in ended} == {"failed"}
    for run, why in zip(ended, ("budget", "key is missing or not valid", "may not run the skill"), strict=True):
        assert why in run.error
    assert events("case") == []
    assert set(CaseResult.objects.values_list("outcome", flat=True)) == {""}


@pytest.mark.django_db(transaction=True)
def test_a_run_whose_worker_was_lost_is_taken_up_again_and_pays_for_no_result_twice(skill: Skill, acme: Tenant) -> None:
    call_command("load_prices", verbosity=0)
    add(skill, "again", {})
    (run,) = starting.start(version(skill, 1), key=make_key(acme).key, actor="alice")
    CaseResult.objects.filter(run=run, position=0).update(outcome="passed", cost_micros=5, milliseconds=9)
    CaseRun.objects.filter(pk=run.pk).update(state="running", lease_until=clock.now())

    tasks.run_cases(run.pk)

    run.refresh_from_db()
    assert (run.state, run.passed_cases, len(events("case"))) == ("finished", 2, 1)


def test_a_first_case_brings_a_gate_and_without_a_passing_run_nothing_is_promoted(skill: Skill) -> None:
    with pytest.raises(Conflict, match="Version 2 has not been tried on the cases") as refused:
        point(skill, 2)

    assert refused.value.details["reason"] == "release_gate"
    assert not SkillLabel.objects.exists()
    assert not SkillLabelMove.objects.exists()
    assert not AuditEntry.objects.filter(action="skill.label_moved").exists()
    run_row(skill, 2)
    assert point(skill, 2).version.number == 2


@pytest.mark.parametrize(
    ("columns", "fault"),
    [
        ({"passed": 2, "total": 3}, "Version 2 fails 1 of its 3 cases."),
        ({"state": "failed"}, "has not been tried"),
        ({"cases_digest": "of cases before"}, "has not been tried"),
        ({"cost": 121}, "costs 21 % more than version 1 in production; tolerated are 20 %"),
    ],
)
def test_the_gate_refuses_what_falls_short(skill: Skill, columns: dict[str, Any], fault: str) -> None:
    set_gate(skill, cost_tolerance_percent=20)
    run_row(skill, 1, cost=100)
    point(skill, 1)
    run_row(skill, 2, **columns)

    with pytest.raises(Conflict, match=fault):
        point(skill, 2)
    with pytest.raises(Conflict, match=fault):
        point(skill, 2, "canary", share=1)

    assert [label.version.number for label in SkillLabel.objects.all()] == [1]
    assert point(skill, 2, "canary", share=0).version.number == 2
    assert point(skill, 2, "next").version.number == 2


def test_the_emulators_answers_prove_nothing(skill: Skill, acme: Tenant) -> None:
    run_row(skill, 2, key=make_key(acme, environment="test").key)

    with pytest.raises(Conflict, match="has not been tried"):
        point(skill, 2)


def test_within_tolerance_and_the_last_run_decides(skill: Skill) -> None:
    set_gate(skill, cost_tolerance_percent=20)
    run_row(skill, 1, cost=100)
    point(skill, 1)
    run_row(skill, 2, passed=0)
    run_row(skill, 2, cost=120)

    assert point(skill, 2).version.number == 2


def test_without_a_run_of_production_the_cost_cannot_be_compared(skill: Skill) -> None:
    run_row(skill, 1)
    point(skill, 1)
    add(skill, "one more", {})
    set_gate(skill, cost_tolerance_percent=0)
    run_row(skill, 2)

    with pytest.raises(Conflict, match="Version 1, in production, has no run of these cases"):
        point(skill, 2)


def test_an_override_is_kept_with_the_move_and_in_the_log(skill: Skill) -> None:
    run_row(skill, 2, passed=0)

    point(skill, 2, override_reason="  the case is wrong  ")

    assert SkillLabelMove.objects.get().override_reason == "the case is wrong"
    entry = AuditEntry.objects.get(action="skill.label_moved")
    assert entry.details["override_reason"] == "the case is wrong"
    assert entry.details["overridden"] == ["Version 2 fails 1 of its 1 cases."]
    assert (entry.actor, entry.subject, entry.details["after"]) == ("ada", "shorten", {"version": 2, "share": 0})


def test_an_override_that_was_not_needed_is_not_one(skill: Skill) -> None:
    run_row(skill, 2)

    point(skill, 2, override_reason="just in case")

    assert SkillLabelMove.objects.get().override_reason == ""


def test_the_way_back_is_always_open(skill: Skill) -> None:
    run_row(skill, 1)
    run_row(skill, 2)
    point(skill, 1)
    point(skill, 2)
    add(skill, "that nothing passed yet", {})

    assert catalog.rollback(skill, actor="ada").version.number == 1
    assert AuditEntry.objects.get(action="skill.rolled_back").details["after"] == {"version": 1, "share": 0}


def test_a_tenants_own_label_into_a_built_in_skill_passes_its_own_gate(acme: Tenant) -> None:
    shared = Skill.objects.create(name="shared", description="Everyone's.")
    for _ in range(2):
        catalog.publish(shared, content=content(), created_by="test")
    add(shared, "roses", {})

    with pytest.raises(Conflict, match="has not been tried"):
        point(shared, 2, tenant=acme)
    assert point(shared, 2, tenant=make_tenant("globex")).version.number == 2
    assert point(shared, 1).tenant_id is None


def test_removing_every_case_does_not_open_the_gate(skill: Skill) -> None:
    keeping.remove(SkillCase.objects.get(), actor="ada")

    with pytest.raises(Conflict, match="has not been tried"):
        point(skill, 2)


@pytest.mark.parametrize(
    ("name", "given", "expect", "error"),
    [
        ("", {}, {}, InvalidRequest),
        ("a\x00b", {}, {}, InvalidRequest),
        ("fine", [], {}, InvalidRequest),
        ("fine", {"text": "x" * 600_000}, {}, InvalidRequest),
        ("fine", {}, {"is": 1}, InvalidRequest),
        ("roses", {}, {}, Conflict),
    ],
)
def test_what_cannot_be_a_case_is_refused(
    skill: Skill, acme: Tenant, name: str, given: Any, expect: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        keeping.save(skill, tenant=acme, name=name, given=given, expect=expect, actor="ada")

    assert SkillCase.objects.count() == 1


def test_nothing_is_started_without_cases_for_analyses_or_beyond_the_limit(skill: Skill, acme: Tenant) -> None:
    key = make_key(acme).key
    analysis = catalog.read_folder(catalog.BUILTIN / "digest" / "1").content
    reader = catalog.create(acme, name="reader", content=analysis, created_by="alice")
    bare = catalog.create(acme, name="bare", content=content(), created_by="alice")
    for version_, message in ((reader, "step by step"), (bare, "no cases yet")):
        with pytest.raises(InvalidRequest, match=message):
            starting.start(version_, key=key, actor="alice")

    for _ in range(starting.MOST_UNDER_WAY):
        starting.start(version(skill, 1), key=key, actor="alice")
    with pytest.raises(Conflict, match="under way already"):
        starting.start(version(skill, 1), key=key, actor="alice")

    assert CaseRun.objects.count() == starting.MOST_UNDER_WAY


def test_nothing_can_name_another_tenants_skill_or_a_version_of_another(skill: Skill, acme: Tenant) -> None:
    other = make_tenant("globex")
    foreign = make_key(other).key
    bare = catalog.create(acme, name="bare", content=content(), created_by="alice")

    with pytest.raises(NotFound):
        catalog.pin(foreign, skill=skill, version=1, actor="mallory")
    with pytest.raises(InvalidRequest):
        starting.start(version(skill, 1), key=foreign, actor="mallory")
    rows: list[Any] = [
        SkillCase(tenant=other, skill=skill, name="x", input={}, expect={}, created_by="mallory"),
        ReleaseGate(tenant=other, skill=skill),
        KeyPin(tenant=other, key=foreign, skill=skill, version=version(skill, 1), created_by="mallory"),
        KeyPin(tenant=acme, key=foreign, skill=skill, version=version(skill, 1), created_by="mallory"),
        KeyPin(tenant=acme, key=make_key(acme).key, skill=skill, version=bare, created_by="mallory"),
    ]
    for row in rows:
        with pytest.raises(DatabaseError):
            save_for_good(row)


def save_for_good(row: Any) -> None:
    with transaction.atomic():
        row.save()
        connection.check_constraints()
