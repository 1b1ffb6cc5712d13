"""What clients may send to the skill endpoints, as JSON Schemas: they check the requests and document them."""

from typing import Any

from kit.errors import InvalidRequest
from skills import schemas

_MAX_TOKENS = {
    "type": "integer",
    "minimum": 1,
    "maximum": 1_000_000,
    "description": "The most tokens the answer may have; the skill's own default without it.",
}
RUN: dict[str, Any] = {
    "type": "object",
    "required": ["input"],
    "additionalProperties": False,
    "properties": {
        "input": {"type": "object", "description": "The fields that the skill's input schema names."},
        "max_tokens": _MAX_TOKENS,
        "label": {
            "type": "string",
            "maxLength": 32,
            "description": "Run the version with this label, such as `canary`.",
        },
        "version": {"type": "integer", "minimum": 1, "maximum": 2**31 - 1, "description": "Run exactly this version."},
    },
}
STREAM: dict[str, Any] = {
    **RUN,
    "properties": {
        **RUN["properties"],
        "resumable": {
            "type": "boolean",
            "description": "Keep the stream, so that it can be continued after a lost connection; the run goes on "
            "although nobody listens.",
        },
    },
}
COMPLETION: dict[str, Any] = {
    "type": "object",
    "required": ["messages"],
    "additionalProperties": False,
    "properties": {
        "messages": {
            "type": "array",
            "minItems": 1,
            "maxItems": 1000,
            "items": {
                "type": "object",
                "required": ["role", "content"],
                "additionalProperties": False,
                "properties": {"role": {"enum": ["user", "assistant"]}, "content": {"type": "string", "minLength": 1}},
            },
        },
        "system": {"type": "string", "description": "What Claude should know and be."},
        "max_tokens": _MAX_TOKENS,
        "cache_system": {
            "type": "boolean",
            "description": "Let Claude cache the system prompt; default as the skill says.",
        },
    },
}
GONE = {
    "temperature": "Claude's current models choose it themselves",
    "top_p": "Claude's current models choose it themselves",
    "top_k": "Claude's current models choose it themselves",
}


def check(schema: dict[str, Any], body: Any) -> dict[str, Any]:
    """Return a body that fits its schema.

    Raises `InvalidRequest` naming the fields at fault, and parameters that the API no longer takes.
    """
    if not isinstance(body, dict):
        raise InvalidRequest("The body must be a JSON object.", path="")
    for name, why in GONE.items():
        if name in body:
            raise InvalidRequest(f"`{name}` is no longer a parameter of the API: {why}. Leave it out.", path=f"/{name}")
    if "input" not in body and "input" in schema["properties"] and body.keys() - schema["properties"].keys():
        unknown = sorted(body.keys() - schema["properties"].keys())
        raise InvalidRequest(
            f'The skill\'s own fields go inside `input`: {{"input": {{"{unknown[0][:64]}": …}}}}.',
            path=f"/{unknown[0][:64]}",
        )
    schemas.validate(schema, body)
    return body
