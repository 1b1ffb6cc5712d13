"""What the server bears before it refuses: sizes in bytes, times in seconds."""

import os
from dataclasses import dataclass, field

MEBIBYTE = 1024 * 1024

HEADER_COUNT = 100
HEADER_BYTES = 16 * 1024  # request line and headers together
SPOOL_BYTES = 256 * 1024  # a body beyond this waits on disk while it is read
BODY_CHUNK_BYTES = 64 * 1024
LINGER_BYTES = 64 * MEBIBYTE  # what is read and thrown away so that a refused sender sees the refusal
SOCKET_INBOX_BYTES = MEBIBYTE
SOCKET_INBOX_MESSAGES = 32
UNSENT_BYTES = 32 * 1024  # in the kernel, per connection, on top of what is held here
UNASKED_BYTES = 4 * 1024  # what is written before the kernel is asked again whether it has room
HELD_BYTES = 16 * 1024  # per connection, before whoever writes has to wait for the reader

LINGER_SECONDS = 5
ABORT_SECONDS = 5
KEEP_ALIVE_SECONDS = 75  # longer than the 60 s of common proxies, which must be the ones to close first
BODY_SECONDS = 300
LEFT_SECONDS = 2.0  # from the client's leaving to the cancellation of an application that did not notice
CLOSE_SECONDS = 10.0  # the same after a complete answer, or for a WebSocket


def _large_bodies() -> dict[bytes, int]:
    return {b"/v1/analyses": 52 * MEBIBYTE, b"/v1/batches": 33 * MEBIBYTE, b"/v1/messages": 32 * MEBIBYTE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits that an operator or a test may move."""

    body_bytes: int = 4 * MEBIBYTE
    large_bodies: dict[bytes, int] = field(default_factory=_large_bodies)
    read_seconds: float = 30.0
    stall_seconds: float = 30.0
    grace_seconds: float = 25.0

    def body_bytes_of(self, path: bytes) -> int:
        """Return how large a body may be that is sent to `path`."""
        for prefix, size in self.large_bodies.items():
            if path.startswith(prefix):
                return max(size, self.body_bytes)
        return self.body_bytes


def from_environment() -> Limits:
    """Read the limits that are set in the environment."""
    return Limits(
        body_bytes=int(os.environ.get("SKILLGATE_MAX_BODY_BYTES", "4194304")),
        read_seconds=float(os.environ.get("SKILLGATE_READ_SECONDS", "30")),
        stall_seconds=float(os.environ.get("SKILLGATE_STALL_SECONDS", "30")),
        grace_seconds=float(os.environ.get("SKILLGATE_GRACE_SECONDS", "25")),
    )
