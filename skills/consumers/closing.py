"""Why a socket is closed: codes that clients can act on (docs/streaming.md lists them)."""

from kit.errors import AuthenticationFailed, NotAllowed, RateLimited, SkillgateError, Unavailable

AUTHENTICATION = 4401
NOT_ALLOWED = 4403
IDLE = 4408
TOO_LARGE = 4413
TOO_MANY = 4429
TRY_LATER = 1013
RESTART = 1012

_CODES: tuple[tuple[type[SkillgateError], int], ...] = (
    (AuthenticationFailed, AUTHENTICATION),
    (NotAllowed, NOT_ALLOWED),
    (RateLimited, TOO_MANY),
    (Unavailable, TRY_LATER),
)


class Closed(Exception):
    """The socket has to be closed, with this code, after saying `error` if there is one."""

    def __init__(self, code: int, reason: str, *, error: SkillgateError | None = None) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.error = error


class Gone(Exception):
    """The client has left; there is nobody to tell anything."""


def for_refusal(error: SkillgateError) -> Closed:
    """Say how a socket is closed that may not be opened."""
    code = next((code for kind, code in _CODES if isinstance(error, kind)), TRY_LATER)
    return Closed(code, error.type, error=error)
