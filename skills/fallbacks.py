"""Which model answers when a skill's own cannot, where skill, key and tenant allow another, and what is said of it."""

from typing import Any

from kit.errors import SkillgateError, Unavailable
from skills import claude, requests
from skills.events import Fallback
from skills.versions import Version
from tenants.keys import Caller

FIXED_ANSWER = "fallback_answer"
HELD_BACK = "breaker_open"


def chain(caller: Caller, version: Version, *, model: str) -> tuple[str, ...]:
    """Return the models to fall back on, in order: none where the tenant wants none."""
    aliases = version.policy.get("fallbacks")
    if not aliases or not caller.allows_fallback:
        return ()
    named = dict.fromkeys(map(requests.model_name, aliases))
    return tuple(one for one in named if one != model and caller.may_use(one))


def first(caller: Caller, version: Version, *, model: str) -> tuple[str, Fallback | None]:
    """Return the model to begin with: the first to which calls are not held back, or its own."""
    if claude.is_held_back(caller, model):
        for other in chain(caller, version, model=model):
            if not claude.is_held_back(caller, other):
                return other, Fallback(model, HELD_BACK)
    return model, None


def was_held_back(error: SkillgateError) -> bool:
    """Tell whether a call was refused because calls to its model are held back."""
    return isinstance(error, Unavailable) and error.details.get("reason") == HELD_BACK


def fixed_answer(caller: Caller, version: Version) -> Any:
    """Return what the skill answers when no model does; None when it names nothing."""
    return version.policy.get(FIXED_ANSWER) if caller.allows_fallback else None
