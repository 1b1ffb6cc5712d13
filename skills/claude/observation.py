"""What was seen of one upstream call, and how its usage event is closed by it.

`settled` only when the stream said `message_stop` and its usage is sound; `released` only when
it was refused before anything was billed; everything else is `estimated`, never below the truth.
"""

from dataclasses import dataclass, field
from datetime import date
from typing import Any

from skills.claude.faults import Fault
from usage.ledger import Admission, Closing
from usage.pricing import Book, Tokens

_MOST_PLAUSIBLE = 1_000_000_000
_TOKENS_PER_SECOND = 400  # faster than any model writes: bounds what was written and not yet seen
_CANCEL_SECONDS = 2.0  # how long upstream may go on writing after we have hung up


@dataclass(slots=True)
class Observation:
    """The facts of a call so far."""

    request_id: str = ""
    service_tier: str = ""
    stop_reason: str = ""
    is_sent: bool = False
    is_finished: bool = False
    is_cancelled: bool = False
    fault: Fault | None = None
    prompt: Tokens | None = None
    first_output_tokens: int = 0
    output_tokens: int | None = None
    output_bytes: int = 0
    has_hidden_output: bool = False
    started_at: float = 0.0
    first_output_at: float | None = None
    last_seen_at: float = 0.0
    ended_at: float = 0.0
    unsound: list[str] = field(default_factory=list)

    def see_start(self, message: dict[str, Any]) -> None:
        """Note what `message_start` says."""
        usage = message.get("usage")
        if not isinstance(usage, dict):
            self.unsound.append("message_start has no usage")
            return
        self.service_tier = str(usage.get("service_tier") or "")[:32]
        plain, written, read, output = self._counts(
            usage, input_tokens=None, cache_creation_input_tokens=0, cache_read_input_tokens=0, output_tokens=None
        )
        self.first_output_tokens = output or 0
        split = usage.get("cache_creation")
        long = self._counts(split, ephemeral_1h_input_tokens=0)[0] if isinstance(split, dict) else 0
        self.prompt = None
        if plain is not None and written is not None and read is not None and long is not None:
            self.prompt = Tokens(
                input=plain, cache_write_5m=max(0, written - long), cache_write_1h=long, cache_read=read
            )

    def see_end(self, event: dict[str, Any]) -> None:
        """Note what `message_delta` says; its counts are cumulative."""
        delta = event.get("delta")
        reason = str((delta if isinstance(delta, dict) else {}).get("stop_reason") or "")[:32]
        self.stop_reason = reason or self.stop_reason
        usage = event.get("usage")
        if not isinstance(usage, dict):
            self.unsound.append("message_delta has no usage")
            return
        if self.prompt is None:
            self.output_tokens = self._counts(usage, output_tokens=None)[0]
        else:
            self.prompt = self._grown(self.prompt, usage)

    def closing(self, admission: Admission, *, book: Book, on: date) -> Closing:
        """Say how the usage event is to be closed."""
        if not self.is_sent or (self.fault is not None and self.fault.is_unbilled and self.prompt is None):
            return self._close("released", Tokens(), 0)
        if self.is_finished and not self.unsound and self.prompt is not None and self.output_tokens is not None:
            tokens = self._with_output(self.prompt, self.output_tokens)
            return self._close("settled", tokens, book.cost(admission.model, tokens, on=on, tier=self.service_tier))
        return self._estimate(admission, book=book, on=on)

    def _estimate(self, admission: Admission, *, book: Book, on: date) -> Closing:
        output = self._output_bound(admission)
        if self.prompt is not None and not self.unsound:
            tokens = self._with_output(self.prompt, output)
            return self._close("estimated", tokens, book.cost(admission.model, tokens, on=on, tier=self.service_tier))
        tokens = Tokens(input=admission.input_tokens, output=output)
        micros = book.upper_bound(admission.model, input_tokens=admission.input_tokens, output_tokens=output, on=on)
        return self._close("estimated", tokens, micros)

    def _output_bound(self, admission: Admission) -> int:
        if self.output_tokens is not None and self.stop_reason and not self.unsound:
            return self.output_tokens  # counts are cumulative: only those that come with a reason to stop are final
        if not self.is_cancelled or self.has_hidden_output or self.prompt is None:
            return admission.output_tokens
        unseen = int((max(0.0, self.ended_at - self.last_seen_at) + _CANCEL_SECONDS) * _TOKENS_PER_SECOND)
        return min(admission.output_tokens, self.first_output_tokens + self.output_bytes + unseen)

    def _close(self, state: Any, tokens: Tokens, micros: int) -> Closing:
        first = None if self.first_output_at is None else int((self.first_output_at - self.started_at) * 1000)
        return Closing(
            state=state,
            tokens=tokens,
            cost_micros=micros,
            stop_reason=self.stop_reason,
            error_type=self._error_type(state),
            upstream_request_id=self.request_id,
            service_tier=self.service_tier,
            first_output_ms=first,
            duration_ms=int(max(0.0, self.ended_at - self.started_at) * 1000),
        )

    def _error_type(self, state: str) -> str:
        if self.fault is not None:
            return self.fault.name
        if self.is_cancelled:
            return "cancelled"
        return "usage_unsound" if state == "estimated" else ""

    def _grown(self, prompt: Tokens, usage: dict[str, Any]) -> Tokens:
        known = prompt.cache_write_5m + prompt.cache_write_1h
        self.output_tokens, plain, read, written = self._counts(
            usage,
            output_tokens=None,
            input_tokens=prompt.input,
            cache_read_input_tokens=prompt.cache_read,
            cache_creation_input_tokens=known,
        )
        if plain == prompt.input and read == prompt.cache_read and written == known:
            return prompt
        more = max(0, (written or 0) - known)
        to_long = more if prompt.cache_write_1h else 0
        return Tokens(
            input=max(prompt.input, plain or 0),
            cache_write_5m=prompt.cache_write_5m + more - to_long,
            cache_write_1h=prompt.cache_write_1h + to_long,
            cache_read=max(prompt.cache_read, read or 0),
        )

    def _counts(self, usage: dict[str, Any], **absent: int | None) -> list[int | None]:
        """Return the counts that are named, each with what its absence means: nothing sound, if that is None."""
        counts: list[int | None] = []
        for name, otherwise in absent.items():
            value = usage.get(name)
            if value is None and otherwise is not None:
                value = otherwise
            elif type(value) is not int or not 0 <= value <= _MOST_PLAUSIBLE:  # for `isinstance` true is one, too
                self.unsound.append(f"{name} is not a sound count")
                value = None
            counts.append(value)
        return counts

    @staticmethod
    def _with_output(prompt: Tokens, output: int) -> Tokens:
        return Tokens(
            input=prompt.input,
            output=output,
            cache_write_5m=prompt.cache_write_5m,
            cache_write_1h=prompt.cache_write_1h,
            cache_read=prompt.cache_read,
        )
