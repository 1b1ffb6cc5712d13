"""The right to one upstream attempt: a place among the calls under way by a provider key, and its breaker's leave."""

from collections.abc import Mapping

from kit import clock, loops
from kit.settings import settings
from skills.claude import provider
from skills.claude.breakers import Breaker, breaker
from skills.claude.faults import Fault
from skills.claude.gates import Gate
from skills.claude.provider import ProviderKey
from tenants.keys import Caller

_gates: loops.Own[dict[ProviderKey, Gate]] = loops.Own(dict)


class Place:
    """Held by one attempt from before its reservation to its end; `leave` gives it back, once."""

    __slots__ = ("_breaker", "_gate", "_is_held", "_is_probe", "_taken_at", "key")

    def __init__(self, key: ProviderKey, *, gate: Gate, breaker: Breaker, is_probe: bool) -> None:
        self.key = key
        self._gate = gate
        self._breaker = breaker
        self._is_probe = is_probe
        self._is_held = True
        self._taken_at = clock.monotonic()

    def heed(self, headers: Mapping[str, str]) -> None:
        """Take in what Claude says of its rate limit."""
        self._gate.heed(headers)

    def report(self, fault: Fault | None, *, is_answered: bool) -> None:
        """Tell how the attempt ended; one that was cancelled before anything came tells nothing."""
        if fault is not None and fault.is_limited:
            self._gate.shrink()
        if fault is not None and fault.is_outage:
            self._breaker.failed(is_probe=self._is_probe)
            self._is_probe = False
        elif fault is not None or is_answered:
            self._breaker.worked()
            self._is_probe = False

    def leave(self) -> None:
        """Give the place back."""
        if self._is_held:
            self._is_held = False
            self._gate.leave(seconds=clock.monotonic() - self._taken_at)
            if self._is_probe:
                self._breaker.forgo()


def enter_at_once(caller: Caller, model: str) -> Place | None:
    """Take a place if nothing has to be waited for or asked."""
    key = provider.of(caller)
    gate, guard = _gate(key), breaker(key, model)
    return Place(key, gate=gate, breaker=guard, is_probe=False) if guard.is_closed and gate.take() else None


async def enter(caller: Caller, model: str) -> Place:
    """Take a place for one attempt by a caller at a model, waiting for it if there is none.

    Raises `Unavailable` when calls to the model are held back, or when the wait would be too long.
    """
    key = provider.of(caller)
    gate = _gate(key)
    if not gate.take():
        await gate.wait(caller.tenant_id, within=settings.CLAUDE_QUEUE_SECONDS)
    guard = breaker(key, model)
    try:
        is_probe = False if guard.is_closed else await guard.enter()
    except BaseException:
        gate.leave()
        raise
    return Place(key, gate=gate, breaker=guard, is_probe=is_probe)


def is_held_back(caller: Caller, model: str) -> bool:
    """Tell whether calls to a model would be refused now, because the last ones failed."""
    return not breaker(provider.of(caller), model).is_ready


def _gate(key: ProviderKey) -> Gate:
    here = _gates.here()
    gate = here.get(key)
    if gate is None:
        gate = here[key] = Gate(key.kind)
    return gate
