"""What a run says while it goes: the events that every entry point renders in its own way."""

from dataclasses import field
from typing import Any
from uuid import UUID

from kit.errors import SkillgateError
from kit.values import value
from skills.routing import Route
from usage.pricing import Tokens


@value
class RunUsage:
    """What a run used over all its attempts; `is_estimated` when some of it is a bound.

    `saved_micros` is what prompt caching saved against the same prompts without it; the first write costs more.
    """

    tokens: Tokens = field(default_factory=Tokens)
    cost_micros: int = 0
    attempts: int = 0
    is_estimated: bool = False
    saved_micros: int = 0

    def with_attempt(
        self, tokens: Tokens, *, cost_micros: int, is_estimated: bool, saved_micros: int = 0
    ) -> "RunUsage":
        """Return the usage with one more attempt added."""
        return RunUsage(
            tokens=self.tokens + tokens,
            cost_micros=self.cost_micros + cost_micros,
            attempts=self.attempts + 1,
            is_estimated=self.is_estimated or is_estimated,
            saved_micros=self.saved_micros + saved_micros,
        )


@value
class CacheState:
    """What the response cache had to do with a run: hit, miss, refresh (made anew and kept) or off (for this call)."""

    outcome: str
    age_seconds: int | None = None


@value
class Fallback:
    """That another model answered than the one that should have, or the skill's fixed answer was given, and why."""

    from_model: str
    reason: str

    @property
    def route(self) -> str:
        """What the usage event says of it."""
        return f"fallback from {self.from_model}: {self.reason}"


@value
class RunStarted:
    """The call is admitted and goes upstream."""

    run_id: UUID
    skill: str
    version: int
    label: str | None
    model: str
    route: Route | None = None
    cache: CacheState | None = None


@value
class RunText:
    """Some more of a text answer."""

    text: str


@value
class RunCompleted:
    """The answer is whole: `output` is text, or JSON that fits the skill's output schema; `model` gave it.

    `guardrails`: what the skill's checks found and let pass, each with `check`, `side`, `action` and `count`.
    """

    run_id: UUID
    output: Any
    citations: list[dict[str, Any]]
    stop_reason: str
    usage: RunUsage
    model: str = ""
    route: Route | None = None
    cache: CacheState | None = None
    guardrails: list[dict[str, Any]] = field(default_factory=list)
    fallback: Fallback | None = None


@value
class RunFailed:
    """There is no answer; what was used until then is booked all the same."""

    run_id: UUID
    error: SkillgateError
    usage: RunUsage


RunEvent = RunStarted | RunText | RunCompleted | RunFailed
