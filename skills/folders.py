"""Skills as folders that can live in git: written with their cases, and taken back as the next version."""

from dataclasses import dataclass

from django.db import transaction

from skills import catalog, versions
from skills.cases import keeping
from skills.catalog import archives, writing
from skills.catalog.files import Folder
from skills.models import Skill, SkillVersion
from tenants import audit
from tenants.models import Tenant


@dataclass(frozen=True, slots=True)
class Taken:
    """What an import did: the version that says what the folder says, and whether it is a new one."""

    version: SkillVersion
    is_new: bool
    ignored: tuple[str, ...] = ()


def export(version: SkillVersion, *, tenant: Tenant | None, actor: str, address: str = "") -> dict[str, bytes]:
    """Return a version's files by path, with the tenant's cases for its skill."""
    skill = version.skill
    cases = keeping.of_skill(skill, tenant=tenant) if tenant else []
    files = writing.write_files(
        skill.name,
        versions.of_row(version),
        cases=[{"name": case.name, "input": case.input, "expect": case.expect} for case in cases],
    )
    audit.record(
        "skill.exported", tenant=tenant, actor=actor, address=address, subject=skill.name, version=version.number
    )
    return files


def take(tenant: Tenant, folder: Folder, *, actor: str, address: str = "") -> Taken:
    """Make a folder the next version of the tenant's skill of its name, or a new skill.

    What is the newest version already is not published again. The folder's cases, if it has any, become the skill's.
    Raises InvalidRequest with the fault, and then nothing is changed.
    """
    with transaction.atomic():
        taken = _published(tenant, folder, actor=actor, address=address)
        if folder.cases:
            skill = taken.version.skill
            keeping.replace(skill, tenant=tenant, cases=folder.cases, actor=actor, address=address)
        audit.record(
            "skill.imported",
            tenant=tenant,
            actor=actor,
            address=address,
            subject=folder.name,
            version=taken.version.number,
            cases=len(folder.cases),
        )
        return taken


def take_archive(tenant: Tenant, raw: bytes, *, actor: str, address: str = "") -> Taken:
    """Take a folder from a zip; raises InvalidRequest or RequestTooLarge for one that is unsafe."""
    return take(tenant, catalog.read_files(archives.unpack(raw)), actor=actor, address=address)


def _published(tenant: Tenant, folder: Folder, *, actor: str, address: str) -> Taken:
    skill = Skill.objects.select_for_update().filter(tenant=tenant, name=folder.name).first()
    if skill is None:
        created = catalog.create(tenant, name=folder.name, content=folder.content, created_by=actor, address=address)
        return Taken(created, is_new=True, ignored=folder.ignored)
    newest = skill.versions.order_by("-number").first()
    if newest is not None and newest.digest == folder.content.digest():
        return Taken(newest, is_new=False, ignored=folder.ignored)
    version = catalog.publish(skill, content=folder.content, created_by=actor, address=address)
    return Taken(version, is_new=True, ignored=folder.ignored)
