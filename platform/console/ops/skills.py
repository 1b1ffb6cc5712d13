"""Skills in the operators' site: versions are immutable, labels move by verbs."""

from console.ops.lists import ReadOnlyList
from console.sites import ops_site
from skills.models import Skill, SkillLabel, SkillLabelMove, SkillVersion


class SkillList(ReadOnlyList):
    """Which skills there are."""

    list_display = ("name", "tenant", "description")
    list_select_related = ("tenant",)


class SkillVersionList(ReadOnlyList):
    """What they say."""

    list_display = ("skill", "number", "model", "max_tokens", "created_by", "created_at")
    list_select_related = ("skill",)


class SkillLabelList(ReadOnlyList):
    """Which version runs."""

    list_display = ("skill", "tenant", "name", "version", "share")
    list_select_related = ("skill", "tenant", "version__skill")


class SkillLabelMoveList(ReadOnlyList):
    """Which version ran when."""

    list_display = ("skill", "name", "previous", "version", "actor", "at")
    list_select_related = ("skill", "previous__skill", "version__skill")


ops_site.register(Skill, SkillList)
ops_site.register(SkillVersion, SkillVersionList)
ops_site.register(SkillLabel, SkillLabelList)
ops_site.register(SkillLabelMove, SkillLabelMoveList)
