"""What clients may send to the batch endpoints, and how batches look to them."""

from collections.abc import Mapping
from typing import Any

from kit import ids
from kit.errors import InvalidRequest
from skills.analyses.models import Analysis
from skills.analyses.states import PREFIXES
from skills.api import analyses_bodies, bodies, documentation
from skills.batches.lines import ITEM, MOST_ITEMS

PREFIX = PREFIXES[Analysis.Kind.BATCH]
_SHARED = analyses_bodies.SUBMIT["properties"]
_TERMS: dict[str, Any] = {
    "skill": {"type": "string", "minLength": 1, "maxLength": 64, "description": "A skill that answers single calls."},
    "label": _SHARED["label"],
    "version": _SHARED["version"],
    "item_max_tokens": {
        "type": "integer",
        "minimum": 1,
        "maximum": 1_000_000,
        "description": "The most tokens each answer may have; the skill's own default without it.",
    },
    **{name: _SHARED[name] for name in ("max_tokens", "max_cost_usd", "processing", "callback_url", "priority")},
}
SUBMIT: dict[str, Any] = {
    "type": "object",
    "required": ["skill", "items"],
    "additionalProperties": False,
    "properties": {
        **_TERMS,
        "metadata": _SHARED["metadata"],
        "items": {"type": "array", "minItems": 1, "maxItems": MOST_ITEMS, "items": ITEM},
    },
}
_BESIDE_ITEMS = {**SUBMIT, "properties": {**SUBMIT["properties"], "items": {}}}  # items are checked one by one
_QUERY = {"type": "object", "required": ["skill"], "additionalProperties": False, "properties": _TERMS}
_NUMBERS = ("version", "item_max_tokens", "max_tokens")
_ANY: dict[str, Any] = {"type": "object", "additionalProperties": True}
_BATCH = {
    "type": "object",
    "required": ["id", "type", "state", "skill", "items", "usage", "links"],
    "properties": {
        "id": {"type": "string"},
        "type": {"type": "string", "enum": ["batch"]},
        "state": {"type": "string", "enum": list(Analysis.State.values)},
        "skill": {"type": "string"},
        "version": {"type": "integer"},
        "processing": {"type": "string", "enum": list(Analysis.Processing.values)},
        "priority": {"type": "string"},
        "error": {
            **_ANY,
            "nullable": True,
            "description": "Why it failed or waits; an item's error is in the results.",
        },
        **dict.fromkeys(("items", "usage", "envelope", "estimate", "metadata", "links"), _ANY),
        **{
            name: {"type": "string", "nullable": True}
            for name in ("created_at", "started_at", "ended_at", "expires_at")
        },
    },
}
_LINE = {
    "type": "object",
    "properties": {
        "index": {"type": "integer"},
        "id": {"type": ["string", "null"]},
        "status": {"type": "string", "enum": ["succeeded", "failed", "pending"]},
        "output": {},
        "error": _ANY,
        "usage": _ANY,
        "guardrails": documentation.FINDINGS,
    },
}
ACCEPTED, ONE, MANY, CANCELLED, RESUMED = documentation.of_work(_BATCH)
DELETED = documentation.answers(_ANY, 403, 404)
RESULTS: dict[Any, Any] = {
    (200, "application/x-ndjson"): _LINE,
    **{status: schema for status, schema in documentation.answers({}, 403, 404).items() if status != 200},
}


def check(body: Any) -> dict[str, Any]:
    """Return a JSON body that fits, but for its items; raises `InvalidRequest`."""
    checked = bodies.check(_BESIDE_ITEMS, body)
    if not isinstance(checked["items"], list):
        raise InvalidRequest("/items: a list of items is needed.", path="/items")
    return checked


def terms(query: Mapping[str, str]) -> dict[str, Any]:
    """Read the terms that come beside a body in JSON Lines, in the URL; raises `InvalidRequest`."""
    given: dict[str, Any] = dict(query.items())
    try:
        for name in _NUMBERS:
            if name in given:
                given[name] = int(given[name])
        if "max_cost_usd" in given:
            given["max_cost_usd"] = float(given["max_cost_usd"])
    except ValueError:
        raise InvalidRequest("A number in the URL is none.", path=name) from None
    return bodies.check(_QUERY, given)


def described(row: dict[str, Any]) -> dict[str, Any]:
    """Render a batch."""
    done, total, failed = row["steps_done"], row["steps_total"], row["steps_failed"]
    public_id = ids.encode(PREFIX, row["id"])
    base = f"/v1/batches/{public_id}"
    shared = analyses_bodies.described(row)
    for name in ("progress", "documents"):
        shared.pop(name, None)
    return {
        **shared,
        "id": public_id,
        "type": "batch",
        "items": {
            "total": total,
            "succeeded": done - failed,
            "failed": failed,
            "pending": total - done,
            "percentage": 100 * done // max(1, total),
        },
        "links": {"self": base, **{name: f"{base}/{name}" for name in ("events", "results", "cancel", "resume")}},
    }


def line(step: dict[str, Any]) -> dict[str, Any]:
    """Render what became of one item."""
    output = step["output"]
    status = "pending" if output is None else "failed" if "error" in output else "succeeded"
    return {"index": step["position"], "id": step["input"]["id"], "status": status, **(output or {})}
