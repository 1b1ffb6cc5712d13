"""The one error of the emulator: a refusal in the API's own envelope."""

from __future__ import annotations

import json

TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}


class Refused(Exception):
    """A request that is answered by an error envelope instead of a message."""

    def __init__(self, status: int, message: str, *, headers: bytes = b"") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers

    def envelope(self, *, request_id: str) -> bytes:
        """Return the error body as the API writes it."""
        error = {"type": TYPES.get(self.status, "api_error"), "message": self.message}
        return json.dumps({"type": "error", "error": error, "request_id": request_id}).encode()


def invalid(message: str) -> Refused:
    """Return the refusal of a malformed request."""
    return Refused(400, message)
