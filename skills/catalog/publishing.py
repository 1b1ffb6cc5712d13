"""Adding versions. Nothing published ever changes; a correction is the next number."""

from django.db import transaction
from django.db.models import Max

from skills.catalog.checks import check
from skills.models import Skill, SkillVersion
from skills.versions import Content


def publish(skill: Skill, *, content: Content, created_by: str) -> SkillVersion:
    """This function will add the skill's next version; raises InvalidRequest when the content is unsound.

    It moves no label: what callers get changes only by `labels.point`.
    """
    check(content)
    with transaction.atomic():
        locked = Skill.objects.select_for_update().get(pk=skill.pk)
        newest = locked.versions.aggregate(newest=Max("number"))["newest"] or 0
        return store(locked, number=newest + 1, content=content, created_by=created_by)


def store(skill: Skill, *, number: int, content: Content, created_by: str) -> SkillVersion:
    """This function will write a checked content as a version's row; the caller holds the skill's lock."""
    return SkillVersion.objects.create(
        skill=skill, number=number, digest=content.digest(), created_by=created_by, **content.as_columns()
    )
