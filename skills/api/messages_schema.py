"""The Messages endpoints' requests and answers, for the OpenAPI document: Anthropic's, in outline."""

from typing import Any

from skills.api.documentation import FINDINGS, answers

Schema = dict[str, Any]

_BLOCKS: Schema = {"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "object"}}]}
_TURN: Schema = {
    "type": "object",
    "required": ["role", "content"],
    "properties": {"role": {"type": "string", "enum": ["user", "assistant", "system"]}, "content": _BLOCKS},
}
_COUNTED: Schema = {
    "model": {
        "type": "string",
        "minLength": 1,
        "maxLength": 64,
        "description": "A model that `GET /v1/models` lists.",
        "example": "claude-sonnet-5",
    },
    "messages": {"type": "array", "minItems": 1, "items": _TURN},
    "system": _BLOCKS,
    "tools": {"type": "array", "items": {"type": "object"}, "description": "Tools that the client runs."},
    "tool_choice": {"type": "object"},
    "thinking": {"type": "object"},
    "output_config": {"type": "object"},
}


def _asked(properties: Schema, *required: str) -> Schema:
    description = "Anthropic's Messages API; parameters not listed here are passed on as they are."
    return {"type": "object", "description": description, "required": list(required), "properties": properties}


def _answered(properties: Schema, *optional: str) -> Schema:
    return {"type": "object", "properties": properties, "required": [one for one in properties if one not in optional]}


ASK = _asked(
    {
        **_COUNTED,
        "max_tokens": {"type": "integer", "minimum": 0, "maximum": 1_000_000},
        "stream": {"type": "boolean", "description": "Answer with Anthropic's server-sent events."},
        "stop_sequences": {"type": "array", "items": {"type": "string"}},
        "metadata": {"type": "object"},
        "service_tier": {"type": "string"},
    },
    "model",
    "messages",
    "max_tokens",
)
ASK_COUNT = _asked(_COUNTED, "model", "messages")
_MESSAGE = _answered(
    {
        "id": {"type": "string"},
        "type": {"type": "string", "enum": ["message"]},
        "role": {"type": "string", "enum": ["assistant"]},
        "model": {"type": "string"},
        "content": {"type": "array", "items": {"type": "object"}},
        "stop_reason": {"type": ["string", "null"]},
        "stop_sequence": {"type": ["string", "null"]},
        "usage": {"type": "object", "description": "Anthropic's own counts."},
        "guardrails": FINDINGS,
    },
    "guardrails",
)
_MODEL = _answered(
    {
        "type": {"type": "string", "enum": ["model"]},
        "id": {"type": "string"},
        "display_name": {"type": "string"},
        "created_at": {"type": "string", "format": "date-time"},
    }
)
_MODELS = _answered(
    {
        "data": {"type": "array", "items": _MODEL},
        "has_more": {"type": "boolean"},
        "first_id": {"type": ["string", "null"]},
        "last_id": {"type": ["string", "null"]},
    }
)
_REFUSED = {
    status: answer
    for status, answer in answers(_MESSAGE, 400, 402, 403, 404, 409, 413, 415, 422, 429, 502, 504, 529).items()
    if status != 200
}
_STREAM: Schema = {
    "type": "object",
    "description": "With `stream: true`: Anthropic's events, each in this form.",
    "properties": {"event": {"type": "string"}, "data": {"type": "string", "description": "JSON."}},
    "required": ["event", "data"],
}
MESSAGE: dict[Any, Schema] = {(200, "application/json"): _MESSAGE, (200, "text/event-stream"): _STREAM, **_REFUSED}
COUNT = answers(_answered({"input_tokens": {"type": "integer"}}), 400, 403, 404, 413, 415, 429, 502, 504, 529)
MODELS = answers(_MODELS, 400, 403)
MODEL = answers(_MODEL, 403, 404)
