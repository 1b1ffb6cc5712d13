"""The one place that makes identifiers and secrets."""

import os
import secrets
import string
import time
from functools import lru_cache
from typing import TypeVar
from uuid import UUID, SafeUUID

BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_ENCODED_LENGTH = 22  # 62**22 > 2**128
_VERSION = 0x7 << 76 | 0b10 << 62  # a UUID's version and variant
_RANDOM = (1 << 80) - 1 - (0xF << 76 | 0b11 << 62)
_PAIRS = tuple(first + second for first in BASE62 for second in BASE62)  # 62 * 62 = 3844 of them
Prepared = TypeVar("Prepared")
_set = object.__setattr__  # of an id's fields: its constructor first finds out in which of six forms it was given
_AT_ONCE = 32  # so many ids are prepared together: one system call, and arithmetic that stays in the cache
_RANDOM_BYTES, _NAME_BYTES = 10, 17
_drawn: list[bytes] = []
_names: list[str] = []

os.register_at_fork(after_in_child=_drawn.clear)  # a child process prepares its own
os.register_at_fork(after_in_child=_names.clear)


def uuid7() -> UUID:
    """Return a UUID version 7 (RFC 9562): unique, and sorted by creation time."""
    try:
        random = _drawn.pop()
    except IndexError:
        random = _first(_pieces(_RANDOM_BYTES), _drawn)
    made = UUID.__new__(UUID)
    _set(made, "int", time.time_ns() // 1_000_000 << 80 | int.from_bytes(random) & _RANDOM | _VERSION)
    _set(made, "is_safe", SafeUUID.unknown)
    return made


def _pieces(size: int) -> list[bytes]:
    drawn = os.urandom(size * _AT_ONCE)
    return [drawn[start : start + size] for start in range(0, len(drawn), size)]


def _first(prepared: list[Prepared], kept: list[Prepared]) -> Prepared:
    """Return one of what was prepared, and keep the others for the next."""
    first = prepared.pop()
    kept.extend(prepared)
    return first


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
    try:
        return _names.pop()
    except IndexError:
        return _first(
            [f"req_{base62(int.from_bytes(one), length=_ENCODED_LENGTH)}" for one in _pieces(_NAME_BYTES)], _names
        )
