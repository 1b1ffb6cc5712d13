"""The Anthropic-compatible Messages API: Claude's own requests and events, through our admission and ledger."""

from skills.claude import StreamEvent
from skills.messages.accumulation import Accumulation
from skills.messages.asking import check, check_count
from skills.messages.models import list_models, model, models
from skills.messages.relaying import Ask, Relay, Relayed, complete, count_tokens, rendered, start

__all__ = [
    "Accumulation",
    "Ask",
    "Relay",
    "Relayed",
    "StreamEvent",
    "check",
    "check_count",
    "complete",
    "count_tokens",
    "list_models",
    "model",
    "models",
    "rendered",
    "start",
]
