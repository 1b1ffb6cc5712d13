"""Skills in the operators' admin: versions are immutable, labels move by verbs."""

from django.contrib import admin

from skills.models import Skill, SkillLabel, SkillLabelMove, SkillVersion
from tenants.admin import ReadOnlyAdmin


@admin.register(Skill)
class SkillAdmin(ReadOnlyAdmin):
    """Which skills there are."""

    list_display = ("name", "tenant", "description")
    list_select_related = ("tenant",)


@admin.register(SkillVersion)
class SkillVersionAdmin(ReadOnlyAdmin):
    """What they say."""

    list_display = ("skill", "number", "model", "max_tokens", "created_by", "created_at")
    list_select_related = ("skill",)


@admin.register(SkillLabel)
class SkillLabelAdmin(ReadOnlyAdmin):
    """Which version runs."""

    list_display = ("skill", "tenant", "name", "version", "share")
    list_select_related = ("skill", "tenant", "version__skill")


@admin.register(SkillLabelMove)
class SkillLabelMoveAdmin(ReadOnlyAdmin):
    """Which version ran when."""

    list_display = ("skill", "name", "previous", "version", "actor", "at")
    list_select_related = ("skill", "previous__skill", "version__skill")
