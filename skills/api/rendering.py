"""Runs as JSON: one form wherever a run's answer is shown."""

from typing import Any

from kit import ids, money
from skills.events import RunCompleted, RunUsage
from skills.versions import Version


def usage(used: RunUsage) -> dict[str, Any]:
    """This function will render what a run used, in Anthropic's names plus totals and cost."""
    tokens = used.tokens
    return {
        "input_tokens": tokens.input,
        "output_tokens": tokens.output,
        "cache_creation_input_tokens": tokens.cache_write_5m + tokens.cache_write_1h,
        "cache_read_input_tokens": tokens.cache_read,
        "total_tokens": tokens.total,
        "cost_micros": used.cost_micros,
        "cost_usd": money.decimal(used.cost_micros),
        "attempts": used.attempts,
        "is_estimated": used.is_estimated,
    }


def completed(done: RunCompleted, *, version: Version, model: str) -> dict[str, Any]:
    """This function will render a run's answer."""
    return {
        "id": ids.encode("run", done.run_id),
        "type": "run",
        "skill": version.skill,
        "version": version.number,
        "label": version.label,
        "model": model,
        "output": done.output,
        "citations": done.citations,
        "stop_reason": done.stop_reason,
        "usage": usage(done.usage),
    }
