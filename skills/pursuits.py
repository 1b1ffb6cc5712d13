"""The attempts at one answer: by a model again and again, then by those it may fall back on."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from kit.errors import AuthenticationFailed, SkillgateError, Unavailable
from skills import claude, observing, patience
from skills.admission import Admitted, admit_again
from skills.claude import Fault
from skills.events import Fallback
from usage.ledger import Purpose, Reservation


@dataclass(slots=True)
class Pursuit:
    """The request as it goes upstream now, the models that are left, and how the one it names came to answer."""

    body: dict[str, Any]
    models: list[str] = field(default_factory=list)
    purpose: Purpose = "answer"
    attempts: int = 1
    fallback: Fallback | None = None

    @property
    def model(self) -> str:
        """The model that is asked now."""
        return str(self.body["model"])

    def pause(self, fault: Fault, *, left: float) -> float | None:
        """Return the seconds to wait before the same model is asked again; None when it is not."""
        return patience.pause(fault, attempts=self.attempts, left=left)

    async def admit(self, admitted: Admitted, fault: Fault, *, wait: float | None) -> Reservation:
        """Admit the next attempt after its pause, or else one by the next model.

        Raises what refused the last that was tried.
        """
        refused: SkillgateError | None = None
        if wait is not None and not (self.models and claude.is_held_back(admitted.caller, self.model)):
            await asyncio.sleep(wait)
            try:
                reservation = await admit_again(admitted, self.body, purpose=self.purpose, route=self._route)
            except Unavailable as unavailable:
                refused = unavailable
            else:
                self.attempts += 1
                observing.RETRIES.labels(self.model, observing.known(fault.name)).inc()
                return reservation
        return await self._fall_back(admitted, fault, refused)

    async def _fall_back(self, admitted: Admitted, fault: Fault, refused: SkillgateError | None) -> Reservation:
        while self.models and fault.is_outage:
            model = self.models.pop(0)
            fallback = Fallback(self.fallback.from_model if self.fallback else self.model, fault.name)
            body = {**self.body, "model": model}
            try:
                reservation = await admit_again(admitted, body, purpose=self.purpose, route=fallback.route)
            except AuthenticationFailed:
                raise
            except SkillgateError as error:
                refused = error
            else:
                self.body, self.fallback, self.attempts = body, fallback, 1
                observing.FALLBACKS.labels(model).inc()
                return reservation
        raise refused or Unavailable("No other model is left.")

    @property
    def _route(self) -> str | None:
        return self.fallback.route if self.fallback else None
