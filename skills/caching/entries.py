"""A kept answer, and how it is written down."""

import json
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

MOST_BYTES = 128 * 1024
_LARGEST_PLAIN = 4 * 1024 * 1024
_PIECE = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A whole answer as its first caller got it, with the model that gave it and why that one.

    `findings` are what the skill's guardrails found in the answer.
    """

    output: Any
    stop_reason: str
    model: str
    route_kind: str
    route_reason: str
    citations: list[dict[str, Any]] = field(default_factory=list)
    findings: list[dict[str, Any]] = field(default_factory=list)

    def pieces(self) -> Iterator[str]:
        """Yield the text of an answer in pieces, as a stream of it would come."""
        text = self.output if isinstance(self.output, str) else ""
        for start in range(0, len(text), _PIECE):
            yield text[start : start + _PIECE]

    def pack(self) -> bytes | None:
        """Write the entry down; None when it is too large to keep."""
        plain = json.dumps(asdict(self), separators=(",", ":")).encode()
        if len(plain) > _LARGEST_PLAIN:
            return None
        packed = zlib.compress(plain, level=1)
        return packed if len(packed) <= MOST_BYTES else None


def unpack(packed: bytes) -> Entry | None:
    """Read an entry; None for what this code did not write."""
    inflating = zlib.decompressobj()
    try:
        plain = inflating.decompress(packed, _LARGEST_PLAIN)
        return Entry(**json.loads(plain)) if inflating.eof else None
    except (zlib.error, ValueError, TypeError, RecursionError):
        return None
