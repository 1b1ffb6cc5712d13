"""The forms every answer of the API shares, for the OpenAPI document."""

from typing import Any

Schema = dict[str, Any]


def form(properties: Schema, *, description: str = "") -> Schema:
    """This function will return the schema of an object that always has all of these properties."""
    return {"type": "object", "description": description, "properties": properties, "required": list(properties)}


def body(schema: Schema) -> Schema:
    """This function will present a JSON Schema as a request body."""
    return {"application/json": schema}


ERROR = form(
    {
        "type": {"type": "string", "enum": ["error"]},
        "error": {
            "type": "object",
            "required": ["type", "message"],
            "properties": {"type": {"type": "string"}, "message": {"type": "string"}},
            "description": "`type` says what kind of refusal it is, `message` what to do; further fields give the facts.",
        },
        "request_id": {"type": ["string", "null"]},
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
