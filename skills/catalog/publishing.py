"""Adding skills and versions. Nothing published ever changes; a correction is the next number."""

from django.db import transaction
from django.db.models import Max

from kit.errors import Conflict, InvalidRequest
from skills.catalog.checks import check
from skills.catalog.files import NAME
from skills.catalog.lookup import forget
from skills.models import Skill, SkillVersion
from skills.versions import Content
from tenants import audit
from tenants.models import Tenant

MOST_OWN_SKILLS = 500


def create(tenant: Tenant, *, name: str, content: Content, created_by: str, address: str = "") -> SkillVersion:
    """Add a skill of a tenant's own with its first version, which no label points to yet.

    Raises InvalidRequest for a name or content that cannot be, Conflict for a name that is taken.
    """
    if not NAME.match(name):
        raise InvalidRequest("A name is lower-case letters, digits and single hyphens, at most 64.", field="name")
    check(content)
    with transaction.atomic():
        Tenant.objects.select_for_update().get(pk=tenant.pk)
        own = Skill.objects.filter(tenant=tenant)
        if own.filter(name=name).exists():
            raise Conflict(f"There is a skill named {name} already: publish a version of it.", field="name")
        if own.count() >= MOST_OWN_SKILLS:
            raise Conflict(f"A tenant has at most {MOST_OWN_SKILLS} skills.")
        skill = Skill.objects.create(tenant=tenant, name=name, description=content.description)
        audit.record("skill.created", tenant=tenant, actor=created_by, address=address, subject=name)
        return publish(skill, content=content, created_by=created_by, address=address)


def publish(skill: Skill, *, content: Content, created_by: str, address: str = "") -> SkillVersion:
    """Add the skill's next version; raises InvalidRequest when the content is unsound.

    It moves no label: what callers get changes only by `labels.point`.
    """
    content = content.tidied()
    check(content)
    with transaction.atomic():
        locked = Skill.objects.select_for_update().get(pk=skill.pk)
        newest = locked.versions.aggregate(newest=Max("number"))["newest"] or 0
        stored = store(locked, number=newest + 1, content=content, created_by=created_by)
        audit.record(
            "skill.published",
            tenant=locked.tenant,
            actor=created_by,
            address=address,
            subject=locked.name,
            version=stored.number,
            digest=stored.digest,
        )
        transaction.on_commit(lambda: forget(name=locked.name))
        return stored


def store(skill: Skill, *, number: int, content: Content, created_by: str) -> SkillVersion:
    """Write a checked content as a version's row; the caller holds the skill's lock."""
    return SkillVersion.objects.create(
        skill=skill, number=number, digest=content.digest(), created_by=created_by, **content.as_columns()
    )
