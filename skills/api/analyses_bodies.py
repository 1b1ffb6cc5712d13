"""What clients may send to the analysis endpoints, and how analyses look to them."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from kit import ids, money
from skills.analyses.models import Analysis
from skills.analyses.states import PREFIXES
from skills.api import documentation

PREFIX = PREFIXES[Analysis.Kind.ANALYSIS]
_TEXT = {"type": "string", "minLength": 1, "pattern": "\\S"}
_MONEY = {
    "type": "number",
    "exclusiveMinimum": 0,
    "maximum": 1_000_000,
    "description": "The most it may cost, in dollars.",
}
_TOKENS = {"type": "integer", "minimum": 1, "maximum": 10**12, "description": "The most tokens it may use."}
SUBMIT: dict[str, Any] = {
    "type": "object",
    "required": ["skill"],
    "additionalProperties": False,
    "properties": {
        "skill": {
            "type": "string",
            "minLength": 1,
            "maxLength": 64,
            "description": "An analysis skill, such as `digest`.",
        },
        "label": {"type": "string", "maxLength": 32},
        "version": {"type": "integer", "minimum": 1, "maximum": 2**31 - 1},
        "input": {"type": "object", "description": "The fields that the skill's input schema names."},
        "instructions": {**_TEXT, "maxLength": 8000, "description": "What to heed besides."},
        "text": {**_TEXT, "description": "One document as plain text."},
        "documents": {
            "type": "array",
            "minItems": 1,
            "maxItems": 500,
            "items": {
                "type": "object",
                "required": ["text"],
                "additionalProperties": False,
                "properties": {"name": {"type": "string", "minLength": 1, "maxLength": 255}, "text": _TEXT},
            },
        },
        "output_schema": {"type": "object", "description": "A JSON Schema for the answer, instead of the skill's own."},
        "max_tokens": _TOKENS,
        "max_cost_usd": _MONEY,
        "callback_url": {"type": "string", "maxLength": 2048, "description": "Told when the analysis ends or waits."},
        "processing": {
            "enum": list(Analysis.Processing.values),
            "description": "`bulk` sends calls to Claude together as Message Batches: half the price, within a day.",
        },
        "priority": {"enum": ["low", "normal", "high"]},
        "metadata": {
            "type": "object",
            "maxProperties": 50,
            "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
        },
    },
}
RESUME: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"max_tokens": _TOKENS, "max_cost_usd": _MONEY},
}
_ANY: dict[str, Any] = {"type": "object", "additionalProperties": True}
_ANALYSIS: dict[str, Any] = {
    "type": "object",
    "required": ["id", "type", "state", "skill", "progress", "usage", "links"],
    "properties": {
        "id": {"type": "string"},
        "type": {"type": "string", "enum": ["analysis"]},
        "state": {"type": "string", "enum": list(Analysis.State.values)},
        "skill": {"type": "string"},
        "version": {"type": "integer"},
        "processing": {"type": "string"},
        "priority": {"type": "string"},
        "error": {**_ANY, "nullable": True, "description": "Why it failed or waits."},
        **dict.fromkeys(("progress", "usage", "envelope", "estimate", "metadata", "links"), _ANY),
        "documents": {"type": "array", "items": _ANY},
        **{
            name: {"type": "string", "nullable": True}
            for name in ("created_at", "started_at", "ended_at", "expires_at")
        },
    },
}
ACCEPTED, ONE, MANY, CANCELLED, RESUMED = documentation.of_work(_ANALYSIS)
_RESULT: dict[str, Any] = {
    "type": "object",
    "required": ["id", "type", "skill", "output", "citations", "citations_dropped", "documents"],
    "properties": {
        "id": {"type": "string"},
        "type": {"type": "string", "enum": ["analysis_result"]},
        "skill": {"type": "string"},
        "output": {"description": "Text, or JSON that fits the schema that was asked for."},
        "citations": {"type": "array", "items": _ANY},
        "citations_dropped": {"type": "integer"},
        "documents": {"type": "array", "items": _ANY},
        "guardrails": documentation.FINDINGS,
    },
}
RESULT = documentation.answers(_RESULT, 403, 404, 409)
DELETED = documentation.answers(_ANY, 403, 404)
JSON_FIELDS = frozenset(["input", "documents", "output_schema", "metadata"])
NUMBER_FIELDS = frozenset(["version", "max_tokens", "max_cost_usd"])


def micros(dollars: Any) -> int | None:
    """Turn dollars as sent into micro-dollars, rounded down."""
    return None if dollars is None else int(Decimal(str(dollars)) * money.MICROS_PER_DOLLAR)


def described(row: dict[str, Any]) -> dict[str, Any]:
    """Render an analysis."""
    public_id = ids.encode(PREFIX, row["id"])
    done, total = row["steps_done"], max(row["steps_total"], row["steps_done"], 1)
    is_done = row["state"] == Analysis.State.SUCCEEDED
    base = f"/v1/analyses/{public_id}"
    return {
        "id": public_id,
        "type": "analysis",
        "state": row["state"],
        "skill": row["skill"],
        "version": row["version"],
        "processing": row["processing"],
        "priority": Analysis.Priority(row["priority"]).name.lower(),
        "error": row["error"],
        "progress": {
            "percentage": 100 if is_done else min(99, 100 * done // total),
            "steps_done": done,
            "steps_total": done if is_done else total,
            "seconds_left": _left(row, done=done, total=total),
        },
        "usage": {
            "tokens": row["used_tokens"],
            "cost_micros": row["used_micros"],
            "cost_usd": money.decimal(row["used_micros"]),
        },
        "envelope": {
            "max_tokens": row["max_tokens"],
            "max_cost_usd": None if row["max_micros"] is None else money.decimal(row["max_micros"]),
            "reserved_tokens": row["reserved_tokens"],
        },
        "estimate": estimate(row["estimate"]),
        "metadata": row["metadata"],
        **({"documents": row["documents"]} if "documents" in row else {}),
        **{name: _instant(row[name]) for name in ("created_at", "started_at", "ended_at", "expires_at")},
        "links": {"self": base, **{name: f"{base}/{name}" for name in ("events", "result", "cancel", "resume")}},
    }


def estimate(guessed: dict[str, Any]) -> dict[str, Any]:
    """Render what an analysis was expected to take."""
    return {**guessed, "cost_usd": money.decimal(guessed.get("cost_micros", 0))}


def result(row: dict[str, Any]) -> dict[str, Any]:
    """Render what an analysis came to."""
    return {"id": ids.encode(PREFIX, row["id"]), "type": "analysis_result", "skill": row["skill"], **row["result"]}


def _left(row: dict[str, Any], *, done: int, total: int) -> float | None:
    if row["state"] not in ("queued", "running", "awaiting_budget"):
        return 0.0
    return round(row["busy_seconds"] / done * (total - done), 1) if done and row["busy_seconds"] else None


def _instant(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
