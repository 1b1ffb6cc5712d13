"""Message Batches: calls that go to Claude together and are answered within a day, at half the price.

A batch cannot be created idempotently. So each call in it is named by its usage event, and a batch whose
creation was not heard of is found again by these names.
"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from kit.errors import InvalidRequest, SkillgateError, UpstreamFailed, UpstreamTimeout
from skills.claude import faults, provider
from skills.claude.faults import Fault, translated
from skills.claude.observation import Observation
from tenants.keys import Caller

if TYPE_CHECKING:
    import anthropic

_LISTED = 100
Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Known:
    """A batch as upstream has it."""

    upstream_id: str
    is_ended: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one call: its message, or the error why there is none; `observed` says how its event is closed."""

    name: str
    observed: Observation
    message: Message | None = None
    error: SkillgateError | None = None


async def create(caller: Caller, calls: Sequence[tuple[str, Message]]) -> str:
    """Send calls (name, body) together and return the batch's id upstream.

    Raises the family of `kit.errors`; whether anything was taken is then unknown, unless it is a refusal.
    """
    requests: Any = [{"custom_id": name, "params": body} for name, body in calls]
    with translated():
        return (await (await _sdk(caller)).messages.batches.create(requests=requests)).id


async def look(caller: Caller, upstream_id: str) -> Known:
    """Ask how far a batch is."""
    with translated():
        return _known(await (await _sdk(caller)).messages.batches.retrieve(upstream_id))


async def cancel(caller: Caller, upstream_id: str) -> None:
    """End a batch early; what is answered already is billed."""
    with translated():
        await (await _sdk(caller)).messages.batches.cancel(upstream_id)


async def since(caller: Caller, moment: datetime) -> list[Known]:
    """List the batches that were created at a moment or later, the newest first."""
    found: list[Known] = []
    with translated():
        async for batch in (await _sdk(caller)).messages.batches.list(limit=_LISTED):
            if batch.created_at < moment:
                break
            found.append(_known(batch))
    return found


async def results(caller: Caller, upstream_id: str) -> AsyncGenerator[Result, None]:
    """Yield the results of a batch that has ended, in no order."""
    with translated():
        async for one in await (await _sdk(caller)).messages.batches.results(upstream_id):
            yield _result(one.custom_id, one.result.to_dict(mode="json"))


async def _sdk(caller: Caller) -> "anthropic.AsyncAnthropic":
    from skills.claude.client import client  # noqa: PLC0415 - brings the SDK, which not all who import this need

    return await client(provider.of(caller))


def _known(batch: Any) -> Known:
    return Known(batch.id, is_ended=batch.processing_status == "ended", created_at=batch.created_at)


def _result(name: str, said: dict[str, Any]) -> Result:
    observed = Observation(is_sent=True)
    message = said.get("message")
    if said.get("type") == "succeeded" and isinstance(message, dict):
        usage = message.get("usage")
        observed.see_start(message)
        observed.see_end({"delta": {"stop_reason": message.get("stop_reason")}, "usage": usage})
        observed.is_finished = True
        return Result(name, observed, message=message)
    observed.fault = _fault(said)
    return Result(name, observed, error=observed.fault.error)


def _fault(said: dict[str, Any]) -> Fault:
    """Nothing but an answer is billed."""
    kind = said.get("type")
    if kind == "expired":
        return Fault(
            UpstreamTimeout("Claude did not get to this call within a day."), "batch_expired", is_unbilled=True
        )
    if kind == "canceled":
        return Fault(UpstreamFailed("The call was cancelled with its batch."), "batch_canceled", is_unbilled=True)
    error = (said.get("error") or {}).get("error") or {}
    name = str(error.get("type"))[:64]
    if name == InvalidRequest.type:
        message = "Claude does not accept this request for this model. Check its size, model and parameters."
        return Fault(InvalidRequest(message, reason="upstream_refused"), name, is_unbilled=True)
    return Fault(faults.of_error_event(name).error, name, is_unbilled=True)
