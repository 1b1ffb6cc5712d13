"""A running platform and a skill whose guardrails a test chooses."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from skills import catalog
from skills.models import Skill, SkillVersion
from tests.live import Live

PublishGuarded = Callable[..., SkillVersion]


@pytest.fixture
def guarded(live: Live) -> PublishGuarded:
    """Publishes a skill of the tenant's own, like `summarize` or another, with a policy of the test's."""

    def publish(name: str, *, like: str = "summarize", **policy: Any) -> SkillVersion:
        content = replace(catalog.read_folder(catalog.BUILTIN / like / "1").content, policy=policy)

        def work() -> SkillVersion:
            skill = Skill.objects.create(tenant=live.tenant, name=name, description="Under guard.")
            version = catalog.publish(skill, content=content, created_by="test")
            catalog.point(skill, label="production", version=1, actor="test")
            return version

        return live.do(work)

    return publish
