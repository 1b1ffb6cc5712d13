"""What a client may say on a socket, as a JSON Schema for each type of message."""

from typing import Any

from kit import strict_json
from kit.errors import InvalidRequest
from skills import schemas
from skills.api import bodies

_ID = {"type": "string", "minLength": 1, "maxLength": 64, "description": "The client's own name for a run."}


def _message(kind: str, *required: str, **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["type", *required],
        "additionalProperties": False,
        "properties": {"type": {"const": kind}, **properties},
    }


MESSAGES = {
    "run": _message(
        "run",
        "id",
        "skill",
        "input",
        id=_ID,
        skill={"type": "string", "minLength": 1, "maxLength": 64},
        idempotency_key={"type": "string", "minLength": 1, "maxLength": 255},
        cache_control={"enum": ["no-cache", "no-store"], "description": "As the header of that name."},
        **bodies.STREAM["properties"],
    ),
    "resume": _message(
        "resume",
        "id",
        "run_id",
        id=_ID,
        run_id={"type": "string", "maxLength": 64},
        last_event_id={"type": "string", "maxLength": 80},
    ),
    "follow": _message(
        "follow",
        "id",
        "analysis_id",
        id=_ID,
        analysis_id={"type": "string", "maxLength": 64, "description": "An analysis or a batch."},
        last_event_id={"type": "string", "maxLength": 20},
    ),
    "cancel": _message("cancel", "id", id=_ID),
    "ping": _message("ping", id=_ID),
}


def read(text: str, *, max_bytes: int) -> dict[str, Any]:
    """Parse one message; raises `InvalidRequest`."""
    message = strict_json.loads(text.encode("utf-8", "surrogatepass"), max_bytes=max_bytes)
    kind = message.get("type") if isinstance(message, dict) else None
    if not isinstance(kind, str) or kind not in MESSAGES:
        raise InvalidRequest(
            f"A message is a JSON object whose `type` is one of {', '.join(MESSAGES)}.",
            path="/type",
            id=_id_of(message),
        )
    try:
        schemas.validate(MESSAGES[kind], message)
    except InvalidRequest as fault:
        raise InvalidRequest(fault.message, **{**fault.details, "id": _id_of(message)}) from fault
    checked: dict[str, Any] = message
    return checked


def _id_of(message: Any) -> str | None:
    """Whatever a faulty message calls its run, so that the client can tell which one was refused."""
    name = message.get("id") if isinstance(message, dict) else None
    return name if isinstance(name, str) and len(name) <= 64 else None
