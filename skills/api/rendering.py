"""Runs as JSON: one form wherever a run's answer is shown."""

from typing import Any

from kit import ids, money
from skills.events import CacheState, RunCompleted, RunUsage
from skills.routing import Route
from skills.versions import Version

CACHE_HEADER = "X-Skillgate-Cache"


def usage(used: RunUsage) -> dict[str, Any]:
    """Render what a run used, in Anthropic's names plus totals and cost."""
    tokens = used.tokens
    return {
        "input_tokens": tokens.input,
        "output_tokens": tokens.output,
        "cache_creation_input_tokens": tokens.cache_write_5m + tokens.cache_write_1h,
        "cache_read_input_tokens": tokens.cache_read,
        "total_tokens": tokens.total,
        "cost_micros": used.cost_micros,
        "cost_usd": money.decimal(used.cost_micros),
        "prompt_cache_saved_micros": used.saved_micros,
        "attempts": used.attempts,
        "is_estimated": used.is_estimated,
    }


def route(chosen: Route | None) -> dict[str, Any] | None:
    """Render why a model answered."""
    return None if chosen is None else {"kind": chosen.kind, "reason": chosen.reason}


def cache(state: CacheState | None) -> dict[str, Any] | None:
    """Render what the response cache had to do with a run; None for a skill that keeps no answers."""
    if state is None:
        return None
    return {"hit": state.outcome == "hit", "outcome": state.outcome, "age_seconds": state.age_seconds}


def cache_header(state: CacheState | None) -> dict[str, str]:
    """Render the same as a header."""
    return {CACHE_HEADER: "off" if state is None else state.outcome}


def fallback(done: RunCompleted) -> dict[str, Any] | None:
    """Say for which model another, or the skill's fixed answer, stood in, and why; None when none did."""
    if done.fallback is None:
        return None
    return {"from": done.fallback.from_model, "reason": done.fallback.reason, "is_fixed_answer": not done.model}


def completed(done: RunCompleted, *, version: Version, model: str) -> dict[str, Any]:
    """Render a run's answer."""
    return {
        "id": ids.encode("run", done.run_id),
        "type": "run",
        "skill": version.skill,
        "version": version.number,
        "label": version.label,
        "model": done.model or model,
        "route": route(done.route),
        "cache": cache(done.cache),
        "fallback": fallback(done),
        "output": done.output,
        "citations": done.citations,
        "stop_reason": done.stop_reason,
        "usage": usage(done.usage),
        **guarded(done),
    }


def guarded(done: RunCompleted) -> dict[str, Any]:
    """Tell what the skill's guardrails found, if they found anything."""
    return {"guardrails": done.guardrails} if done.guardrails else {}
