"""The answers of the skill endpoints, for the OpenAPI document."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter

from kit.openapi import ERROR, Schema, answers, body, form

__all__ = ["ERROR", "Schema", "answers", "body", "form", "listed", "of_work"]

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
FINDINGS: Schema = {
    "type": "array",
    "items": form(
        {
            "check": {"type": "string"},
            "side": {"type": "string", "enum": ["input", "output"]},
            "action": {"type": "string", "enum": ["flag", "redact"]},
            "count": {"type": "integer"},
        }
    ),
    "description": "What the checks of the skill or the tenant found and let pass; absent when there is nothing to tell.",
}
_RUN["properties"]["guardrails"] = FINDINGS


def listed(one: Schema) -> Schema:
    """Describe a page of a list."""
    after = "For `after`, to see the next page."
    return form(
        {
            "data": {"type": "array", "items": one},
            "has_more": {"type": "boolean"},
            "next": {"type": ["string", "null"], "description": after},
        }
    )


def of_work(one: Schema) -> tuple[dict[int, Schema], ...]:
    """Describe what is worked on in the background: taken in, one, many, cancelled, resumed."""
    taken_in = answers(one, 400, 403, 404, 409, 413, 415, 422)
    return (
        {202 if status == 200 else status: answer for status, answer in taken_in.items()},
        answers(one, 403, 404),
        answers(listed(one), 400, 403),
        answers(one, 403, 404, 409),
        answers(one, 400, 403, 404, 409, 413, 415),
    )


SKILLS = answers(form({"data": {"type": "array", "items": _SKILL}}), 403)
SKILL = answers(_SKILL, 403, 404)
RUN = answers(_RUN, 400, 402, 403, 404, 409, 413, 415, 422, 429, 502, 504, 529)
COMPLETION = {status: answer for status, answer in RUN.items() if status != 404}  # it names no skill
_EVENTS = {
    "type": "object",
    "properties": {"event": {"type": "string"}, "data": {}},
    "description": "Server-sent events, as docs/streaming.md describes them.",
}


def streamed(*errors: int) -> dict[Any, Any]:
    """Describe a stream of events; the errors are those that come before its first event."""
    refused = {status: schema for status, schema in answers({}, *errors).items() if status != 200}
    return {(200, "text/event-stream"): _EVENTS, **refused}


STREAM = streamed(400, 402, 403, 404, 409, 410, 413, 415, 422, 429)
RESUMED_STREAM = streamed(400, 403, 404, 410)
FOLLOWED = {
    **streamed(403, 404),
    (200, "application/json"): form({"data": {"type": "array", "items": {"type": "object"}}}),
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
