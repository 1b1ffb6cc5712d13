"""Loading the built-in skills from their folders, `NAME/NUMBER/`, into the database."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.db import connection, transaction

from kit.errors import InvalidRequest
from skills import schemas
from skills.catalog.checks import check
from skills.catalog.files import Folder, read_folder
from skills.catalog.labels import point
from skills.catalog.publishing import store
from skills.models import PRODUCTION, Skill, SkillLabel, SkillVersion

BUILTIN = Path(__file__).resolve().parents[1] / "builtin"
_LOCK = 0x736B696C6C73  # "skills": one loader at a time, in all processes.
_ACTOR = "system"

Numbered = dict[int, Folder]


@dataclass(slots=True)
class Loaded:
    """What a load did: versions added and production labels set, each as `name number`."""

    added: list[str] = field(default_factory=list)
    promoted: list[str] = field(default_factory=list)
    unchanged: int = 0


def load(directory: Path = BUILTIN) -> Loaded:
    """Bring the database's built-in skills up to the folders; running it again changes nothing.

    A folder whose number exists with another content is refused (InvalidRequest): versions are immutable, so
    a change is a new number. `production` is set to the newest number when the label does not exist yet, or when
    it points to what was the newest before this load, that is, when nobody has pointed it elsewhere: an operator's
    rollback survives every deployment. All or nothing, and one loader at a time.
    """
    found = _read(directory)
    loaded = Loaded()
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        known = _known()
        for name, numbered in found.items():
            _load_skill(name, numbered, known.get(name, {}), loaded)
    return loaded


def _read(directory: Path) -> dict[str, Numbered]:
    found: dict[str, Numbered] = {}
    for name, number, folder in _folders(directory):
        read = read_folder(folder)
        if read.name != name:
            raise InvalidRequest(f"{name}/{number}/SKILL.md is named {read.name}; it must be {name}.", path="SKILL.md")
        found.setdefault(name, {})[number] = read
    return found


def _folders(directory: Path) -> Iterator[tuple[str, int, Path]]:
    for skill in sorted(one for one in directory.iterdir() if one.is_dir() and not one.name.startswith(("_", "."))):
        for folder in sorted(one for one in skill.iterdir() if one.is_dir()):
            if not folder.name.isdecimal() or folder.name.startswith("0"):
                raise InvalidRequest(f"{skill.name}/{folder.name} must be a version's number.", path=folder.name)
            yield skill.name, int(folder.name), folder


def _known() -> dict[str, dict[int, str]]:
    known: dict[str, dict[int, str]] = {}
    rows = SkillVersion.objects.filter(skill__tenant=None).values_list("skill__name", "number", "digest")
    for name, number, digest in rows:
        known.setdefault(name, {})[number] = digest
    return known


def _load_skill(name: str, numbered: Numbered, known: dict[int, str], loaded: Loaded) -> None:
    new = {number: read for number, read in sorted(numbered.items()) if number not in known}
    for number in numbered.keys() & known.keys():
        if numbered[number].content.digest() != known[number]:
            raise InvalidRequest(
                f"{name}/{number} differs from what was loaded before. Versions are immutable: put the change "
                f"into {name}/{max(*numbered, *known) + 1}.",
                path=f"{name}/{number}",
            )
    loaded.unchanged += len(numbered) - len(new)
    if new:
        _add(name, new, before=max(known, default=None), loaded=loaded)


def _add(name: str, new: Numbered, *, before: int | None, loaded: Loaded) -> None:
    newest = new[max(new)].content
    skill, _ = Skill.objects.get_or_create(tenant=None, name=name, defaults={"description": newest.description})
    for number, read in new.items():
        _check(read, at=f"{name}/{number}")
        store(skill, number=number, content=read.content, created_by="built in")
        loaded.added.append(f"{name} {number}")
    if max(new) > (before or 0):
        Skill.objects.filter(pk=skill.pk).update(description=newest.description)
        _promote(skill, number=max(new), before=before, loaded=loaded)


def _promote(skill: Skill, *, number: int, before: int | None, loaded: Loaded) -> None:
    label = SkillLabel.objects.filter(skill=skill, tenant=None, name=PRODUCTION).select_related("version").first()
    if label is None or label.version.number == before:
        point(skill, label=PRODUCTION, version=number, actor=_ACTOR)
        loaded.promoted.append(f"{skill.name} {number}")


def _check(read: Folder, *, at: str) -> None:
    """Check the content, and that every case's input fits it."""
    try:
        check(read.content)
        for position, case in enumerate(read.cases):
            given: Any = case.get("input") if isinstance(case, dict) else None
            schemas.validate(read.content.input_schema, given, at=f"cases/{position}/input")
    except InvalidRequest as fault:
        raise InvalidRequest(f"{at}: {fault.message}", **fault.details) from fault
