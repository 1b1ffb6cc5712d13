"""The one place that makes identifiers and secrets."""

import os
import secrets
import string
import time
from functools import lru_cache
from uuid import UUID

BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_ENCODED_LENGTH = 22  # 62**22 > 2**128
_VERSION = 0x7 << 76 | 0b10 << 62  # a UUID's version and variant
_RANDOM = (1 << 80) - 1 - (0xF << 76 | 0b11 << 62)
_PAIRS = tuple(first + second for first in BASE62 for second in BASE62)  # 62 * 62 = 3844 of them


def uuid7() -> UUID:
    """Return a UUID version 7 (RFC 9562): unique, and sorted by creation time."""
    return UUID(int=_uuid7())


def _uuid7() -> int:
    return time.time_ns() // 1_000_000 << 80 | int.from_bytes(os.urandom(10)) & _RANDOM | _VERSION


def base62(number: int, *, length: int) -> str:
    """Write a number in base 62, padded with zeros to `length`."""
    written = ""
    for _ in range((length + 1) // 2):
        written = _PAIRS[number % 3844] + written
        number //= 3844
    return written[-length:]


@lru_cache(maxsize=1024)  # a run's id is told in its answer, its logs and its spans
def encode(prefix: str, value: UUID) -> str:
    """Write a UUID as a public id, such as `run_02aBc…`."""
    return f"{prefix}_{base62(value.int, length=_ENCODED_LENGTH)}"


def decode(prefix: str, public_id: str) -> UUID | None:
    """Read a public id back; None for anything that is not one."""
    head, separator, digits = public_id.partition("_")
    if head != prefix or not separator or len(digits) != _ENCODED_LENGTH:
        return None
    number = 0
    for digit in digits:
        index = BASE62.find(digit)
        if index < 0:
            return None
        number = number * 62 + index
    return UUID(int=number) if number < 1 << 128 else None


def secret(length: int) -> str:
    """Return `length` base62 characters of a CSPRNG."""
    return "".join(secrets.choice(BASE62) for _ in range(length))


def request_id() -> str:
    """Return a new request id."""
    return f"req_{base62(_uuid7(), length=_ENCODED_LENGTH)}"
