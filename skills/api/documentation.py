"""The answers of the skill endpoints, for the OpenAPI document."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter

from kit.openapi import ERROR, Schema, answers, body, form

__all__ = ["ERROR", "Schema", "answers", "body", "form"]

_SKILL = form(
    {
        "name": {"type": "string"},
        "description": {"type": "string"},
        "built_in": {"type": "boolean"},
        "version": {"type": "integer", "description": "The version in production."},
        "labels": {"type": "object", "additionalProperties": {"type": "integer"}},
        "model": {"type": "string"},
        "max_tokens": form({"default": {"type": "integer"}, "maximum": {"type": "integer"}}),
        "output": {"type": "string", "enum": ["text", "json"]},
        "citations": {"type": "boolean"},
        "input_schema": {"type": "object"},
        "output_schema": {"type": ["object", "null"]},
    }
)
_USAGE = form(
    {
        "input_tokens": {"type": "integer"},
        "output_tokens": {"type": "integer"},
        "cache_creation_input_tokens": {"type": "integer"},
        "cache_read_input_tokens": {"type": "integer"},
        "total_tokens": {"type": "integer"},
        "cost_micros": {"type": "integer", "description": "Micro-dollars."},
        "cost_usd": {"type": "string", "description": "Dollars, exact to the micro-dollar."},
        "prompt_cache_saved_micros": {
            "type": "integer",
            "description": "What prompt caching saved against the same prompts without it; negative where it cost more.",
        },
        "attempts": {"type": "integer"},
        "is_estimated": {"type": "boolean"},
    }
)
_ROUTE = form(
    {
        "kind": {"type": "string", "enum": ["fixed", "by_size", "by_classifier", "by_budget"]},
        "reason": {"type": "string", "description": "Why this model answered, in words."},
    }
)
_CACHE = form(
    {
        "hit": {"type": "boolean"},
        "outcome": {"type": "string", "enum": ["hit", "miss", "refresh", "off"]},
        "age_seconds": {"type": ["integer", "null"]},
    }
)
_RUN = form(
    {
        "id": {"type": "string"},
        "type": {"type": "string", "enum": ["run"]},
        "skill": {"type": "string"},
        "version": {"type": "integer"},
        "label": {"type": ["string", "null"]},
        "model": {"type": "string"},
        "route": {"anyOf": [_ROUTE, {"type": "null"}]},
        "cache": {
            "anyOf": [_CACHE, {"type": "null"}],
            "description": "What the response cache had to do with it; null for a skill that keeps no answers.",
        },
        "fallback": {
            "type": ["object", "null"],
            "description": "Set when another model answered than the skill's own, or its fixed answer was given.",
            "properties": {
                "from": {"type": "string"},
                "reason": {"type": "string"},
                "is_fixed_answer": {"type": "boolean"},
            },
        },
        "output": {"description": "Text, or JSON that fits the skill's output schema."},
        "citations": {"type": "array", "items": {"type": "object"}},
        "stop_reason": {"type": "string"},
        "usage": _USAGE,
    }
)
_RUN["properties"]["guardrails"] = {
    "type": "array",
    "items": form(
        {
            "check": {"type": "string"},
            "side": {"type": "string", "enum": ["input", "output"]},
            "action": {"type": "string", "enum": ["flag", "redact"]},
            "count": {"type": "integer"},
        }
    ),
    "description": "What the skill's checks found and let pass; absent when there is nothing to tell.",
}
SKILLS = answers(form({"data": {"type": "array", "items": _SKILL}}), 403)
SKILL = answers(_SKILL, 403, 404)
RUN = answers(_RUN, 400, 402, 403, 404, 409, 413, 422, 429, 502, 504, 529)
_FAILURES = (400, 402, 403, 404, 409, 410, 413, 422, 429)
_EVENTS = {
    "type": "object",
    "properties": {"event": {"type": "string"}, "data": {}},
    "description": "Server-sent events, as docs/streaming.md describes them.",
}
STREAM: dict[Any, Any] = {
    (200, "text/event-stream"): _EVENTS,
    **{status: schema for status, schema in answers({}, *_FAILURES).items() if status != 200},
}
TICKET = answers(
    form(
        {
            "type": {"type": "string", "enum": ["ticket"]},
            "ticket": {"type": "string", "description": "Use it once: `/v1/ws?ticket=…`."},
            "expires_in": {"type": "integer", "description": "Seconds."},
        }
    ),
    403,
    429,
)
IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    description="Makes a retry safe: the call is made once, and its answer is kept for 24 hours.",
)
CACHE_CONTROL = OpenApiParameter(
    "Cache-Control",
    str,
    OpenApiParameter.HEADER,
    description="Of a skill that keeps answers: `no-cache` makes the call and keeps the new answer, `no-store` keeps nothing.",
)
LAST_EVENT_ID = OpenApiParameter(
    "Last-Event-ID", str, OpenApiParameter.HEADER, description="The id of the last event that was received."
)
