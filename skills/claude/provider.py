"""Which Anthropic key a caller's calls go by: the platform's, its tenant's own, or the emulator's for test keys."""

from typing import Literal, NamedTuple

from tenants.keys import Caller

Kind = Literal["platform", "own", "emulator"]


class ProviderKey(NamedTuple):
    """Names a key and never holds it; `tenant_id` is 0 unless the key is a tenant's own."""

    kind: Kind
    tenant_id: int = 0

    @property
    def name(self) -> str:
        """Tells it apart from every other, in every process."""
        return f"tenant:{self.tenant_id}" if self.kind == "own" else self.kind


PLATFORM = ProviderKey("platform")
EMULATOR = ProviderKey("emulator")


def of(caller: Caller) -> ProviderKey:
    """Return the key that a caller's calls go by."""
    if caller.environment == "test":
        return EMULATOR
    return ProviderKey("own", caller.tenant_id) if caller.has_provider_key else PLATFORM
