"""What Claude's answers consist of."""

from typing import Any

from kit.values import value


@value
class StreamEvent:
    """One event of the Messages API's stream: its type, its JSON, and the JSON as it came."""

    type: str
    data: dict[str, Any]
    raw: str
