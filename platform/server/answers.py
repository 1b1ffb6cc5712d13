"""The answers the server gives by itself, in the same envelope as the platform's."""

import json
from http import HTTPStatus

from kit.errors import InvalidRequest, RequestTooLarge, SkillgateError, Unavailable


def body(error: SkillgateError, *, request_id: str) -> bytes:
    """Render the envelope of an error."""
    return json.dumps(error.envelope(request_id=request_id), separators=(",", ":")).encode()


def raw(error: SkillgateError, *, request_id: str, status: int | None = None) -> bytes:
    """Write a whole HTTP answer after which the connection closes."""
    status = status or error.status
    content = body(error, request_id=request_id)
    head = (
        f"HTTP/1.1 {status} {_phrase(status)}\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\n"
        f"request-id: {request_id}\r\n"
        f"X-Request-ID: {request_id}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode("ascii") + content


def too_large(limit: int) -> RequestTooLarge:
    """Word the refusal of a body over `limit` bytes."""
    return RequestTooLarge(f"The request body is over the limit of {limit} bytes.", limit_bytes=limit)


def for_status(status: int, *, message: str) -> SkillgateError:
    """Find the error that stands for a status which the server gives by itself."""
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return Unavailable("The server is restarting. Send the request again.", retry_after=2)
    if status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return InvalidRequest(message)
    return SkillgateError("Something went wrong on our side. Quote the request id if you report it.")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
