"""What Claude's answers consist of."""

from typing import Any, NamedTuple


class StreamEvent(NamedTuple):
    """One event of the Messages API's stream: its type, its JSON, and the JSON as it came."""

    type: str
    data: dict[str, Any]
    raw: str
