"""Loading, versions that never change, and labels that move, one step back included."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction

from kit.errors import Conflict, InvalidRequest, NotFound
from skills import catalog
from skills.catalog import Content, loading
from skills.models import Skill, SkillLabel, SkillLabelMove, SkillVersion
from tenants.models import Tenant

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.django_db


def write(directory: Path, number: int, *, name: str = "greet", system: str = "Greet.", metadata: str = "") -> Path:
    folder = directory / name / str(number)
    folder.mkdir(parents=True)
    front = f"name: {name}\ndescription: Greets.\nmetadata:\n  model: fast\n  max_tokens: 64\n{metadata}"
    (folder / "SKILL.md").write_text(f"---\n{front}---\n{system}\n", encoding="utf-8")
    (folder / "template.md").write_text("{{ who }}\n", encoding="utf-8")
    schema = {"type": "object", "properties": {"who": {"type": "string"}}, "required": ["who"]}
    (folder / "input.schema.json").write_text(json.dumps(schema), encoding="utf-8")
    return folder


def content(**changes: Any) -> Content:
    basis: dict[str, Any] = {
        "description": "Greets.",
        "input_schema": {"type": "object", "properties": {"who": {"type": "string"}}, "required": ["who"]},
        "model": "fast",
        "max_tokens": 64,
        "max_tokens_ceiling": 64,
        "template": "{{ who }}",
    }
    return Content(**{**basis, **changes})


@pytest.fixture
def greet() -> Skill:
    """A built-in skill with three versions and no label."""
    skill = Skill.objects.create(name="greet", description="Greets.")
    for number in (1, 2, 3):
        catalog.publish(skill, content=content(system=f"Version {number}."), created_by="test")
    return skill


def production(skill: Skill | None = None) -> int:
    labels = SkillLabel.objects.filter(name="production", tenant=None, skill__name="greet")
    return labels.get(**({"skill": skill} if skill else {})).version.number


def test_load_brings_in_the_built_in_skills_once() -> None:
    first = catalog.load()
    second = catalog.load()

    assert len(first.added) == len(first.promoted) == second.unchanged == SkillVersion.objects.count() == 12
    assert (second.added, second.promoted) == ([], [])
    assert SkillLabelMove.objects.count() == 12
    stored = SkillVersion.objects.get(skill__name="classify")
    assert list(stored.input_schema["properties"]) == ["text", "labels", "instructions"]
    assert stored.digest == catalog.read_folder(catalog.BUILTIN / "classify" / "1").content.digest()


def test_loading_again_is_quick() -> None:
    catalog.load()

    started = time.monotonic()
    catalog.load()

    assert time.monotonic() - started < 1.0


def test_a_changed_folder_under_an_old_number_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    folder = write(tmp_path, 1)
    catalog.load(tmp_path)
    (folder / "template.md").write_text("Hi {{ who }}", encoding="utf-8")
    write(tmp_path, 1, name="another")

    with pytest.raises(InvalidRequest, match=r"greet/1 differs .* put the change into greet/2"):
        catalog.load(tmp_path)

    assert list(SkillVersion.objects.values_list("skill__name", "number", "template")) == [("greet", 1, "{{ who }}")]


def test_a_new_number_goes_into_production(tmp_path: Path) -> None:
    write(tmp_path, 1)
    catalog.load(tmp_path)
    write(tmp_path, 2, system="Greet warmly.")

    loaded = catalog.load(tmp_path)

    assert (loaded.added, loaded.promoted, production()) == (["greet 2"], ["greet 2"], 2)


def test_an_operators_rollback_survives_the_next_load(tmp_path: Path) -> None:
    write(tmp_path, 1)
    write(tmp_path, 2, system="Greet warmly.")
    catalog.load(tmp_path)
    catalog.point(Skill.objects.get(name="greet"), label="production", version=1, actor="olga")
    write(tmp_path, 3, system="Greet coldly.")

    loaded = catalog.load(tmp_path)

    assert (loaded.added, loaded.promoted, production()) == (["greet 3"], [], 1)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "SKILL.md").unlink(), "SKILL.md is missing"),
        (lambda f: (f / "SKILL.md").write_text("no front matter"), "must begin with front matter"),
        (lambda f: (f / "SKILL.md").write_text("---\nname: [\n---\n"), "not YAML"),
        (lambda f: (f / "SKILL.md").write_text("---\n" + "[" * 9_000 + "\n---\n"), "not YAML"),
        (lambda f: (f / "SKILL.md").write_text("---\na: &a [1]\nb: [*a, *a]\n---\n"), "anchors"),
        (lambda f: (f / "SKILL.md").write_text("---\nname: A b\ndescription: d\n---\n"), "has a name"),
        (lambda f: (f / "SKILL.md").write_text("---\nname: other\ndescription: d\nmetadata: {}\n---\n"), "no `model`"),
        (lambda f: (f / "SKILL.md").write_bytes(b"---\nname: \xff\n---\n"), "not UTF-8"),
        (lambda f: (f / "template.md").write_text("{{ whom }}"), "no property `whom`"),
        (lambda f: (f / "template.md").unlink(), "template: must not be empty"),
        (lambda f: (f / "input.schema.json").write_text("{"), "input.schema.json is not JSON"),
        (lambda f: (f / "input.schema.json").write_text('{"type": "strin"}'), "not valid JSON Schema"),
        (lambda f: (f / "output.schema.json").write_text('{"type": "object"}'), "must name its `properties`"),
        (lambda f: (f / "output.schema.json").write_text('{"$input": "absent"}'), "takes `absent` from the input"),
        (lambda f: (f / "cases.json").write_text('[{"input": {"who": 5}}]'), "cases/0/input/who: must be of type"),
        (lambda f: f.rename(f.parent / "one"), "must be a version's number"),
        (lambda f: f.parent.rename(f.parent.parent / "hello"), "is named greet; it must be hello"),
    ],
)
def test_an_unsound_folder_is_refused_and_nothing_is_written(
    tmp_path: Path, spoil: Callable[[Path], object], message: str
) -> None:
    spoil(write(tmp_path, 1))

    with pytest.raises(InvalidRequest) as refused:
        catalog.load(tmp_path)

    assert message in refused.value.message
    assert not Skill.objects.exists()


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ("  max_tokens_ceiling: 63\n", "max_tokens: must be from 1 to the ceiling, 63."),
        ("  max_tokens_ceiling: 64001\n", "max_tokens_ceiling: must be from 1 to 64,000."),
        ("  citations: 1\n", "`citations` under `metadata` that is not of type bool"),
        ("  temperature: 1\n", "unknown key `temperature`"),
        ("  system_from: whom\n", "system_from: must name a property of type string"),
        ("  documents_from: who\n", "documents_from: must name a property of type array"),
        ("  policy: {retries: 3}\n", "policy: does not know `retries`."),
        ("  policy: {fallbacks: fast}\n", "policy/fallbacks: must be a list"),
    ],
)
def test_unsound_metadata_is_refused(tmp_path: Path, metadata: str, message: str) -> None:
    write(tmp_path, 1, metadata=metadata)

    with pytest.raises(InvalidRequest) as refused:
        catalog.load(tmp_path)

    assert message in refused.value.message


def test_citations_and_json_answers_exclude_each_other() -> None:
    output = {"type": "object", "properties": {"a": {"type": "string"}}}

    with pytest.raises(InvalidRequest, match="citations: cannot be combined"):
        catalog.check(content(citations=True, output_schema=output))


def test_the_command_says_what_it_did_and_refuses_clearly(tmp_path: Path) -> None:
    folder, out = write(tmp_path, 1), StringIO()
    call_command("load_skills", str(tmp_path), stdout=out)
    call_command("load_skills", str(tmp_path), stdout=out)
    (folder / "template.md").write_text("{{ who }}!", encoding="utf-8")

    with pytest.raises(CommandError, match="Versions are immutable"):
        call_command("load_skills", str(tmp_path), stdout=out)
    with pytest.raises(CommandError, match="not a directory"):
        call_command("load_skills", str(tmp_path / "absent"), stdout=out)

    assert out.getvalue() == "added greet 1\nproduction is now greet 1\n1 versions, nothing new\n"


def wait_for_two_in_line(cursor: Any) -> None:
    deadline = time.monotonic() + 30
    waiting = "SELECT count(*) FROM pg_locks JOIN pg_database ON oid = database WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()"
    while time.monotonic() < deadline:
        cursor.execute(waiting)
        if cursor.fetchone()[0] == 2:
            return
        time.sleep(0.05)
    pytest.fail("The loaders do not wait for one another.")


@pytest.mark.django_db(transaction=True)
def test_loaders_that_start_together_load_once() -> None:
    settings = connection.settings_dict
    user = ":".join(quote(part, safe="") for part in (settings["USER"], settings["PASSWORD"]) if part)
    host = quote(settings["HOST"], safe="") + (f":{settings['PORT']}" if settings["PORT"] else "")
    environment = {**os.environ, "DATABASE_URL": f"postgres://{user}@{host}/{settings['NAME']}"}
    command = [sys.executable, str(ROOT / "manage.py"), "load_skills"]

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [loading._LOCK])  # So that both arrive before either begins.
        loaders = [
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        wait_for_two_in_line(cursor)
        cursor.execute("SELECT pg_advisory_unlock(%s)", [loading._LOCK])
    said = [loader.communicate(timeout=60) for loader in loaders]

    assert [loader.returncode for loader in loaders] == [0, 0], said
    assert "".join(out for out, _ in said).count("added ") == SkillVersion.objects.count() == 12
    assert SkillLabel.objects.count() == SkillLabelMove.objects.count() == 12


def test_published_versions_count_up(greet: Skill) -> None:
    added = catalog.publish(greet, content=content(system="Version 4."), created_by="alice")

    assert (added.number, added.created_by, added.digest) == (4, "alice", content(system="Version 4.").digest())
    with pytest.raises(InvalidRequest, match="template"):
        catalog.publish(greet, content=content(template="{{ whom }}"), created_by="alice")
    assert greet.versions.count() == 4


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE skills_skillversion SET template = 'x'",
        "UPDATE skills_skillversion SET created_by = created_by",
        "DELETE FROM skills_skillversion",
        "UPDATE skills_skilllabelmove SET actor = 'x'",
        "DELETE FROM skills_skilllabelmove",
        "UPDATE skills_skill SET name = 'other'",
        "UPDATE skills_skill SET tenant_id = (SELECT min(id) FROM tenants_tenant)",
    ],
)
def test_the_database_refuses_to_rewrite_history(greet: Skill, statement: str) -> None:
    Tenant.objects.create(slug="acme", name="Acme")
    catalog.point(greet, label="production", version=3, actor="olga")

    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)

    assert greet.versions.filter(template="{{ who }}", created_by="test").count() == 3
    assert SkillLabelMove.objects.filter(actor="olga").count() == 1


@pytest.mark.parametrize(
    ("table", "columns", "constraint"),
    [
        ("skills_skilllabel", "version_id", "label_points_to_a_version_of_its_own_skill"),
        ("skills_skilllabelmove", "version_id", "move_goes_to_a_version_of_its_own_skill"),
    ],
)
def test_a_label_cannot_point_into_another_skill(greet: Skill, table: str, columns: str, constraint: str) -> None:
    other = Skill.objects.create(name="other", description="Other.")
    foreign = greet.versions.get(number=1)
    more = ", is_rollback, actor" if table.endswith("move") else ""
    values = ", false, 'x'" if more else ""

    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        insert = f"INSERT INTO {table} (skill_id, name, {columns}{more}) VALUES (%s, 'production', %s{values})"
        with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
            cursor.execute(insert, [other.pk, foreign.pk])


def test_a_label_of_one_tenant_cannot_be_put_on_anothers_skill() -> None:
    acme, rival = (Tenant.objects.create(slug=slug, name=slug) for slug in ("acme", "rival"))
    own = Skill.objects.create(tenant=acme, name="greet", description="Greets.")
    version = catalog.publish(own, content=content(), created_by="alice")

    with pytest.raises(IntegrityError, match="another tenant"), transaction.atomic():
        SkillLabel.objects.create(skill=own, tenant=rival, name="production", version=version)
    with pytest.raises(NotFound):
        catalog.point(own, label="production", version=1, tenant=rival, actor="mallory")

    assert not SkillLabel.objects.exists()


def test_names_are_unique_among_built_ins_too(greet: Skill) -> None:
    with pytest.raises(IntegrityError, match="skill_name_is_one_per_tenant"), transaction.atomic():
        Skill.objects.create(name="greet", description="Again.")


def test_each_move_of_a_label_is_kept(greet: Skill) -> None:
    catalog.point(greet, label="production", version=1, actor="olga")
    catalog.point(greet, label="production", version=2, actor="otto")
    catalog.point(greet, label="production", version=2, actor="otto")

    moves = SkillLabelMove.objects.order_by("id").values_list("previous__number", "version__number", "actor")
    assert list(moves) == [(None, 1, "olga"), (1, 2, "otto")]


def test_rollback_goes_back_one_step_at_a_time(greet: Skill) -> None:
    for number in (1, 2, 3):
        catalog.point(greet, label="production", version=number, actor="olga")

    walked = [catalog.rollback(greet, actor="olga").version.number for _ in range(2)]

    assert walked == [2, 1]
    with pytest.raises(Conflict, match="no earlier version"):
        catalog.rollback(greet, actor="olga")
    assert production(greet) == 1
    assert SkillLabelMove.objects.filter(is_rollback=True).count() == 2


def test_after_a_rollback_the_label_goes_on_from_there(greet: Skill) -> None:
    for number in (1, 2):
        catalog.point(greet, label="production", version=number, actor="olga")
    catalog.rollback(greet, actor="olga")
    catalog.point(greet, label="production", version=3, actor="olga")

    assert catalog.rollback(greet, actor="olga").version.number == 1


def test_a_share_is_restored_by_a_rollback(greet: Skill) -> None:
    catalog.point(greet, label="canary", version=2, share=5, actor="olga")
    catalog.point(greet, label="canary", version=2, share=20, actor="olga")
    catalog.point(greet, label="canary", version=3, share=50, actor="olga")

    back = catalog.rollback(greet, label="canary", actor="olga")

    assert (back.version.number, back.share) == (2, 20)


@pytest.mark.parametrize(
    ("label", "version", "share", "error"),
    [
        ("production", 4, 0, NotFound),
        ("Production", 1, 0, InvalidRequest),
        ("", 1, 0, InvalidRequest),
        ("canary", 1, 101, InvalidRequest),
        ("canary", 1, -1, InvalidRequest),
    ],
)
def test_point_refuses(greet: Skill, label: str, version: int, share: int, error: type[Exception]) -> None:
    with pytest.raises(error):
        catalog.point(greet, label=label, version=version, share=share, actor="olga")

    assert not SkillLabel.objects.exists()
    assert not SkillLabelMove.objects.exists()
