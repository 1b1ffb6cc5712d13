"""What someone is writing, read as a version's content, with every fault and its place; for the form and as one types."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kit import strict_json
from kit.errors import InvalidRequest
from skills import catalog
from skills.catalog import Content

TEXTS = (
    "description",
    "system",
    "template",
    "model",
    "messages_from",
    "system_from",
    "documents_from",
    "max_tokens_from",
)
NUMBERS = ("max_tokens", "max_tokens_ceiling")
TICKS = ("cache_system", "citations")
JSON = ("input_schema", "output_schema", "policy")
_WHAT_A_SCHEMA_DECIDES = {"template", "input_schema", *(name for name in TEXTS if name.endswith("_from"))}
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.S)
_PLAIN = re.compile(r"[^\s,:\[\]{}\"]+")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: in which field, where in its JSON, on which line of its text."""

    field: str
    message: str
    path: str = ""
    line: int | None = None

    def __str__(self) -> str:
        where = f"Line {self.line}" if self.line else ""
        where += f"{', ' if where else 'At '}{self.path}" if self.path else ""
        return f"{where}: {self.message}" if where else self.message

    def as_json(self) -> dict[str, Any]:
        """Return the fault for the page's script."""
        return {"field": self.field, "path": self.path, "line": self.line, "message": str(self)}


@dataclass(frozen=True, slots=True)
class Draft:
    """What was written: a sound content, or the faults that keep it from being one."""

    content: Content | None
    faults: list[Fault]


def read(given: Mapping[str, Any]) -> Draft:
    """Read a form's fields, given as their texts, into a content and its faults."""
    values: dict[str, Any] = {name: str(given.get(name) or "") for name in TEXTS}
    values |= {name: bool(given.get(name)) for name in TICKS}
    faults: list[Fault] = []
    for name in NUMBERS:
        values[name] = _number(name, given.get(name), faults)
    for name in JSON:
        values[name] = _json(name, str(given.get(name) or ""), faults)
    values["policy"] = values["policy"] or {}
    broken = {fault.field for fault in faults}
    content = Content(**values).tidied()
    faults += _unsound(content, given, broken=broken)
    return Draft(None if faults else content, faults)


def line_of(text: str, pointer: str) -> int | None:
    """Return the line on which a JSON pointer's value begins, or the nearest that is there."""
    parts = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
    places = _places(text)
    while tuple(parts) not in places and parts:
        parts.pop()
    place = places.get(tuple(parts))
    return None if place is None else text.count("\n", 0, place) + 1


def _number(name: str, value: Any, faults: list[Fault]) -> int:
    text = str(value if value is not None else "").strip()
    if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII):
        faults.append(Fault(name, "must be a whole number."))
        return 0
    return int(text)


def _json(name: str, text: str, faults: list[Fault]) -> Any:
    if not text.strip():
        if name == "input_schema":
            faults.append(Fault(name, "must not be empty."))
        return {} if name == "input_schema" else None
    try:
        found = strict_json.loads(text.encode("utf-8", "replace"))
    except InvalidRequest as fault:
        position = fault.details.get("position")
        line = text.count("\n", 0, position) + 1 if isinstance(position, int) else None
        faults.append(Fault(name, f"This {fault.message.removeprefix('The request body ')}", line=line))
        return {} if name == "input_schema" else None
    if not isinstance(found, dict):
        faults.append(Fault(name, "must be a JSON object.", line=1))
        return {} if name == "input_schema" else None
    return found


def _unsound(content: Content, given: Mapping[str, Any], *, broken: set[str]) -> list[Fault]:
    try:
        catalog.check(content)
    except InvalidRequest as refused:
        silent = broken | (_WHAT_A_SCHEMA_DECIDES if "input_schema" in broken else set())
        told = [one for one in refused.details["errors"] if one["path"].partition("/")[0] not in silent]
        return [_placed(one["path"], one["message"], given) for one in told]
    return []


def _placed(path: str, message: str, given: Mapping[str, Any]) -> Fault:
    field, _, rest = path.partition("/")
    pointer = f"/{rest}" if rest else ""
    line = line_of(str(given.get(field) or ""), pointer) if field in JSON else None
    return Fault(field, message, path=pointer, line=line)


def _places(text: str) -> dict[tuple[str, ...], int]:
    """Return where each value of a JSON text begins; the text was parsed before, so that it is well formed and shallow."""
    places: dict[tuple[str, ...], int] = {}
    path: list[Any] = []  # a name, or a number for a list's item
    wants_name: list[bool] = []
    position = 0
    while position < len(text):
        sign = text[position]
        match = _STRING.match(text, position) or _PLAIN.match(text, position)
        if match and wants_name and wants_name[-1]:
            path[-1], wants_name[-1] = _unquoted(match[0]), False
            position = match.end()
            continue
        if match or sign in "{[":
            places.setdefault(tuple(map(str, path)), position)
        _step(sign, path, wants_name)
        position = match.end() if match else position + 1
    return places


def _step(sign: str, path: list[Any], wants_name: list[bool]) -> None:
    if sign in "{[":
        path.append("" if sign == "{" else 0)
        wants_name.append(sign == "{")
    elif sign in "}]" and path:
        path.pop()
        wants_name.pop()
    elif sign == "," and path:
        if isinstance(path[-1], int):
            path[-1] += 1
        else:
            wants_name[-1] = True


def _unquoted(text: str) -> str:
    try:
        return str(strict_json.loads(text.encode("utf-8", "replace")))
    except InvalidRequest:
        return text
