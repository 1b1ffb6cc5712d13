"""Publishing skills with a policy, and asking them."""

from dataclasses import dataclass
from typing import Any

import httpx2

from skills import catalog
from skills.models import Skill
from skills.versions import Content
from tests.live import Live

ECHO = "/v1/skills/echo"
ANSWER = {"type": "object", "properties": {"label": {"type": "string"}}, "required": ["label"]}


def publish(live: Live, *, policy: dict[str, Any], name: str = "echo", **changes: Any) -> int:
    """Publish the next version of a skill of the tenant's and make it production."""
    content = Content(
        **{
            "description": "Says something about a text.",
            "input_schema": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
            "model": "balanced",
            "max_tokens": 400,
            "max_tokens_ceiling": 4_000,
            "template": "{{ text }}",
            "policy": policy,
            **changes,
        }
    )

    def work() -> int:
        skill, _ = Skill.objects.get_or_create(tenant=live.tenant, name=name, defaults={"description": "Echo."})
        version = catalog.publish(skill, content=content, created_by="test")
        catalog.point(skill, label="production", version=version.number, actor="test")
        return version.number

    return live.do(work)


def words(count: int = 8, *, chunk_ms: int = 0, text: str = "Tell me something.") -> dict[str, Any]:
    """Make an input whose answer has so many words, at a pace."""
    return {"input": {"text": f"[[emulator:words:{count}]] [[emulator:chunk_ms:{chunk_ms}]] {text}"}}


@dataclass(frozen=True)
class Asked:
    """The skill, asked on a server."""

    live: Live

    def post(self, body: dict[str, Any] | None = None, **options: Any) -> httpx2.Response:
        return self.live.post(ECHO, words() if body is None else body, **options)

    def purposes(self) -> list[str]:
        """Return what the tenant's usage events are for, in order, once they are closed."""
        return [event["purpose"] for event in self.live.events()]
