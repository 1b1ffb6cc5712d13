"""What makes two requests the same."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from skills.versions import Version
from tenants.keys import Caller

_ABOUT_THE_CALLER = frozenset(["metadata"])
_CHOSEN = frozenset(["model"])


@dataclass(frozen=True, slots=True)
class Key:
    """Whose answer, of which skill, to which request; no two tenants share a name in Redis."""

    tenant_id: int
    skill: str
    digest: str

    @property
    def member(self) -> str:
        """The answer's name among those of its tenant."""
        return f"{self.skill}/{self.digest}"


def key_of(caller: Caller, version: Version, body: dict[str, Any], *, models: Iterable[str]) -> Key:
    """Return the key of a request: everything that an answer depends on, and of the caller the tenant.

    `models` are those that may answer: the one that was chosen, or all that a choice is still to be made among.
    """
    sent = {name: value for name, value in body.items() if name not in _ABOUT_THE_CALLER | _CHOSEN}
    said = [caller.environment, version.skill_id, version.number, version.stored_digest, sorted(models), sent]
    text = json.dumps([caller.tenant_id, *said], sort_keys=True, separators=(",", ":"))
    return Key(caller.tenant_id, version.skill, hashlib.sha256(text.encode()).hexdigest())
