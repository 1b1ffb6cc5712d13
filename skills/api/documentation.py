"""The answers of the skill endpoints, for the OpenAPI document."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter

Schema = dict[str, Any]


def _object(properties: Schema, *, description: str = "") -> Schema:
    return {"type": "object", "description": description, "properties": properties, "required": list(properties)}


def body(schema: Schema) -> Schema:
    """This function will present a JSON Schema as a request body."""
    return {"application/json": schema}


ERROR = _object(
    {
        "type": {"type": "string", "enum": ["error"]},
        "error": {
            "type": "object",
            "required": ["type", "message"],
            "properties": {"type": {"type": "string"}, "message": {"type": "string"}},
            "description": "`type` says what kind of refusal it is, `message` what to do; further fields give the facts.",
        },
        "request_id": {"type": "string", "nullable": True},
    },
    description="Every error has this form.",
)
_WHY = {
    400: "The request does not fit its schema.",
    401: "The key is missing or not valid.",
    402: "The call does not fit a budget; the details say what would pass.",
    403: "The key lacks the scope.",
    404: "There is no such thing.",
    409: "A call with this idempotency key is under way; `Retry-After` says when to ask again.",
    410: "What comes next in the stream is no longer kept.",
    413: "The body is too large.",
    422: "The idempotency key was used for another request.",
    429: "Over a rate limit; `Retry-After` says for how long.",
    502: "Claude failed.",
    503: "A part of the platform is unavailable.",
    504: "Claude did not answer in time.",
    529: "Claude is overloaded.",
}


def answers(schema: Schema, *errors: int) -> dict[int, Schema]:
    """This function will pair an answer's schema with the error statuses the endpoint can give."""
    return {200: schema, **{status: {**ERROR, "description": _WHY[status]} for status in (401, 503, *errors)}}


_SKILL = _object(
    {
        "name": {"type": "string"},
        "description": {"type": "string"},
        "built_in": {"type": "boolean"},
        "version": {"type": "integer", "description": "The version in production."},
        "labels": {"type": "object", "additionalProperties": {"type": "integer"}},
        "model": {"type": "string"},
        "max_tokens": _object({"default": {"type": "integer"}, "maximum": {"type": "integer"}}),
        "output": {"type": "string", "enum": ["text", "json"]},
        "citations": {"type": "boolean"},
        "input_schema": {"type": "object"},
        "output_schema": {"type": "object", "nullable": True},
    }
)
_USAGE = _object(
    {
        "input_tokens": {"type": "integer"},
        "output_tokens": {"type": "integer"},
        "cache_creation_input_tokens": {"type": "integer"},
        "cache_read_input_tokens": {"type": "integer"},
        "total_tokens": {"type": "integer"},
        "cost_micros": {"type": "integer", "description": "Micro-dollars."},
        "cost_usd": {"type": "string", "description": "Dollars, exact to the micro-dollar."},
        "attempts": {"type": "integer"},
        "is_estimated": {"type": "boolean"},
    }
)
_RUN = _object(
    {
        "id": {"type": "string"},
        "type": {"type": "string", "enum": ["run"]},
        "skill": {"type": "string"},
        "version": {"type": "integer"},
        "label": {"type": "string", "nullable": True},
        "model": {"type": "string"},
        "output": {"description": "Text, or JSON that fits the skill's output schema."},
        "citations": {"type": "array", "items": {"type": "object"}},
        "stop_reason": {"type": "string"},
        "usage": _USAGE,
    }
)
SKILLS = answers(_object({"data": {"type": "array", "items": _SKILL}}), 403)
SKILL = answers(_SKILL, 403, 404)
RUN = answers(_RUN, 400, 402, 403, 404, 409, 413, 422, 429, 502, 504, 529)
_FAILURES = (400, 402, 403, 404, 409, 410, 413, 422, 429)
_EVENTS = {"type": "string", "description": "Server-sent events, as docs/streaming.md describes them."}
STREAM: dict[Any, Any] = {
    (200, "text/event-stream"): _EVENTS,
    **{status: schema for status, schema in answers({}, *_FAILURES).items() if status != 200},
}
TICKET = answers(
    _object(
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
LAST_EVENT_ID = OpenApiParameter(
    "Last-Event-ID", str, OpenApiParameter.HEADER, description="The id of the last event that was received."
)
