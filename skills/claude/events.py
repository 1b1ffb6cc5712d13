"""What Claude's answers consist of."""

from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class StreamEvent:
    """One event of the Messages API's stream: its type, its JSON, and the JSON as it came."""

    type: str
    data: dict[str, Any]
    raw: str
