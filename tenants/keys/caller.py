"""Who calls: what one authenticated request carries through the platform."""

import re
from dataclasses import dataclass
from datetime import datetime

_DATED = re.compile(r"-\d{8}$")


@dataclass(frozen=True, slots=True)
class Caller:
    """A key that was found good, with its tenant, scopes and limits.

    `family_id` is the first key of its chain of rotations: limits and budgets are counted on it.
    An empty set of skills, verbs or models means all. `tenant_models`, `allows_fallback`, `has_provider_key`
    (an Anthropic key of its own), `logs_prompts` and `messages_policy` (the guardrails of relayed calls, as JSON; empty
    for none) are what the tenant decided for all of its keys.
    """

    key_id: int
    family_id: int
    public_id: str
    name: str
    display: str
    tenant_id: int
    tenant_slug: str
    tenant_timezone: str
    environment: str
    allowed_skills: frozenset[str]
    allowed_verbs: frozenset[str]
    allowed_models: frozenset[str]
    requests_per_minute: int
    tokens_per_minute: int
    concurrent_calls: int
    expires_at: datetime | None
    tenant_models: frozenset[str] = frozenset()
    allows_fallback: bool = True
    has_provider_key: bool = False
    logs_prompts: bool = False
    messages_policy: str = ""

    def may_run(self, skill: str) -> bool:
        """Tell whether the key may call a skill."""
        return not self.allowed_skills or skill in self.allowed_skills

    def may_use(self, model: str) -> bool:
        """Tell whether the key and its tenant allow a model; an undated name allows its snapshots."""
        if not self.allowed_models and not self.tenant_models:
            return True
        names = {model, _DATED.sub("", model)}
        return all(not allowed or names & allowed for allowed in (self.allowed_models, self.tenant_models))

    @property
    def models(self) -> frozenset[str]:
        """The models that key and tenant both name; empty when neither names any."""
        if self.allowed_models and self.tenant_models:
            return frozenset(filter(self.may_use, self.allowed_models | self.tenant_models))
        return self.allowed_models or self.tenant_models

    def may(self, verb: str) -> bool:
        """Tell whether the key may `run`, `read` or speak `messages`."""
        return not self.allowed_verbs or verb in self.allowed_verbs
