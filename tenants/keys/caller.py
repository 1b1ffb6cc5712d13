"""Who calls: what one authenticated request carries through the platform."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Caller:
    """A key that was found good, with its tenant, scopes and limits.

    `family_id` is the first key of its chain of rotations: limits and budgets are counted on it.
    An empty set of skills, verbs or models means all.
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

    def may_run(self, skill: str) -> bool:
        """This function will tell whether the key may call a skill."""
        return not self.allowed_skills or skill in self.allowed_skills

    def may(self, verb: str) -> bool:
        """This function will tell whether the key may `run`, `read` or speak `messages`."""
        return not self.allowed_verbs or verb in self.allowed_verbs
