"""The forms every answer of the API shares, for the OpenAPI document."""

from typing import Any

from kit import errors as refusals

Schema = dict[str, Any]


def form(properties: Schema, *, description: str = "") -> Schema:
    """Return the schema of an object that always has all of these properties."""
    return {"type": "object", "description": description, "properties": properties, "required": list(properties)}


def body(schema: Schema) -> Schema:
    """Present a JSON Schema as a request body."""
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
    406: "None of the media types in `Accept` is produced here.",
    409: "It is in a state that does not allow this, or a call with this idempotency key is under way; then `Retry-After` "
    "says when to ask again.",
    410: "What comes next in the stream is no longer kept.",
    413: "The body is too large.",
    415: "The body is of a media type that is not taken here.",
    422: "The idempotency key was used for another request, or a check of the skill withholds input or answer.",
    429: "Over a rate limit; `Retry-After` says for how long.",
    502: "Claude failed.",
    503: "A part of the platform is unavailable.",
    504: "Claude did not answer in time.",
    529: "Claude is overloaded.",
}


def answers(schema: Schema, *errors: int) -> dict[int, Schema]:
    """Pair an answer's schema with the error statuses the endpoint can give."""
    return {200: schema, **{status: _refusal(status) for status in sorted({401, 406, 503, *errors})}}


def _refusal(status: int) -> Schema:
    """The form of all errors, with the `type` that those of this status have."""
    properties = ERROR["properties"]
    named = {"type": "string", "enum": sorted(_TYPES[status])}
    error = {**properties["error"], "properties": {**properties["error"]["properties"], "type": named}}
    return {**ERROR, "description": _WHY[status], "properties": {**properties, "error": error}}


_FAMILY = [one for one in vars(refusals).values() if isinstance(one, type) and issubclass(one, refusals.SkillgateError)]
_TYPES = {status: {one.type for one in _FAMILY if one.status == status} for status in _WHY}
