"""The items of a batch as they are sent: one JSON object in a line, checked one by one, never all in memory."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from kit import strict_json
from kit.errors import InvalidRequest, RequestTooLarge
from skills import requests, schemas
from skills.versions import Version

MOST_ITEMS = 10_000
MOST_BYTES = 32 * 1024 * 1024
MOST_LINE_BYTES = 1024 * 1024
CHUNK = 500
ITEM: dict[str, Any] = {
    "type": "object",
    "required": ["input"],
    "additionalProperties": False,
    "properties": {
        "id": {"type": "string", "minLength": 1, "maxLength": 64, "description": "Your own name for the item."},
        "input": {"type": "object", "description": "The fields that the skill's input schema names."},
    },
}


@dataclass(slots=True)
class Checked:
    """Makes steps of items that fit; remembers which ids there were and how much there is to read."""

    version: Version
    max_tokens: int | None = None
    count: int = 0
    read_bytes: int = 0
    _names: set[str] = field(default_factory=set)

    def steps(self, items: Iterable[Any]) -> Iterator[list[dict[str, Any]]]:
        """Yield steps, some hundred at a time; raises `InvalidRequest` naming the item at fault."""
        chunk: list[dict[str, Any]] = []
        for item in items:
            chunk.append(self._step(item))
            if len(chunk) >= CHUNK:
                yield chunk
                chunk = []
        if chunk:
            yield chunk
        if not self.count:
            raise InvalidRequest("A batch needs at least one item.", path="/items")

    def _step(self, item: Any) -> dict[str, Any]:
        at = f"/items/{self.count}"
        if self.count >= MOST_ITEMS:
            raise RequestTooLarge(f"A batch takes at most {MOST_ITEMS} items.", limit_items=MOST_ITEMS)
        schemas.validate(ITEM, item, at=at)
        name = item.get("id")
        if name is not None:
            if name in self._names:
                raise InvalidRequest(f"{at}/id: another item has the id {name!r}.", path=f"{at}/id")
            self._names.add(name)
        schemas.validate(self.version.input_schema, item["input"], at=f"{at}/input")
        if not self.count:  # the first one stands for what is the same in all: limits, template, output schema
            requests.build(self.version, item["input"], max_tokens=self.max_tokens)
        self.read_bytes += sum(len(value) for value in item["input"].values() if isinstance(value, str))
        self.count += 1
        return {"position": self.count - 1, "input": {"id": name, "input": item["input"]}}


def parsed(file: BinaryIO) -> Iterator[Any]:
    """Yield the objects of a file in JSON Lines; raises `InvalidRequest` with the number of the line."""
    number = 0
    while line := file.readline(MOST_LINE_BYTES + 1):
        number += 1
        if len(line) > MOST_LINE_BYTES:
            raise RequestTooLarge(f"Line {number} is over {MOST_LINE_BYTES} bytes.", limit_bytes=MOST_LINE_BYTES)
        if not line.strip():
            continue
        try:
            yield strict_json.loads(line, max_bytes=MOST_LINE_BYTES)
        except InvalidRequest as fault:
            message = f"Line {number}: {fault.message.replace('The request body', 'The line')}"
            raise InvalidRequest(message, path=f"line {number}") from fault
