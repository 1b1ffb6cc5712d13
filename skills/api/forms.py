"""Forms with files: `multipart/form-data` as the body that JSON would have, and the files beside it."""

from typing import Any

from rest_framework.parsers import MultiPartParser

from kit import strict_json
from kit.errors import InvalidRequest
from skills.api.analyses_bodies import JSON_FIELDS, NUMBER_FIELDS


class FileParser(MultiPartParser):
    """Django's parser of forms; what is large goes to disk, not into memory."""


def read_form(data: Any) -> tuple[dict[str, Any], list[Any]]:
    """Part a form into the body that JSON would have, and its files."""
    body: dict[str, Any] = {}
    files: list[Any] = []
    for name, values in data.lists():
        for value in values:
            if hasattr(value, "chunks"):
                files.append(value)
            else:
                body[name] = _value(name, value)
    return body, files


def _value(name: str, text: str) -> Any:
    if name in JSON_FIELDS:
        return strict_json.loads(text.encode())
    if name in NUMBER_FIELDS:
        try:
            return float(text) if name == "max_cost_usd" else int(text)
        except ValueError:
            raise InvalidRequest(f"`{name}` must be a number.", path=f"/{name}") from None
    return text
