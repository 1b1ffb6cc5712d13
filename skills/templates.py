"""The user message of a skill: a logic-less template, safe for authors one does not know.

`{{ field }}` and `{{ field.sub }}` put a value in, a string as it is and anything else as compact JSON;
`{{#field}}…{{/field}}` keeps its content only when the field is present and truthy. There are no loops,
no calls and no way to reach anything but the input. Parsing and rendering take linear time.

A template fences untrusted values between tags such as `<text>…</text>`. A value can not leave its
fence: a closing tag of any name that the template itself closes is written `<\\/text>` inside values,
and, given a key, every fence carries a mark (`<text-0a1b2c3d4e5f>`) that is a keyed digest of all values:
no value can contain it, and the same input makes the same message. A text that stands outside any fence
gets one of its own, unless it is the whole message.
"""

import hmac
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from kit.errors import InvalidRequest
from kit.values import value

MAX_BYTES = 64 * 1024
MAX_NESTING = 8
_PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}(?:\.[A-Za-z_][A-Za-z0-9_]{0,63}){0,7}\Z")
_MARK_DIGITS = 12
_CLOSING_TAG = re.compile(r"</\s*([A-Za-z_][\w.-]{0,63})\s*>")

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Insert:
    """A place where a value goes."""

    path: Path


@dataclass(frozen=True, slots=True)
class Section:
    """A part that is kept only when its field is present and truthy."""

    path: Path
    parts: "tuple[Part, ...]"


Part = str | Insert | Section


@value
class Piece:
    """A rendered piece: the template's own words, or a value and, when it is text, the name of its field."""

    text: str
    is_value: bool = False
    name: str = ""


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template: its parts, what finds the closing tags a value may not contain, and its own tags.

    `is_framed`: values stand within words of the template's, and so need fences; else one value is all there is.
    """

    parts: tuple[Part, ...]
    fence: re.Pattern[str] | None
    tags: re.Pattern[str] | None
    is_framed: bool

    @property
    def prefix(self) -> str:
        """The template's words before its first value or tag: what all of its messages begin with."""
        words = self.parts[0] if self.parts and isinstance(self.parts[0], str) else ""
        tag = self.tags.search(words) if self.tags else None
        return words[: tag.start()] if tag else words

    def render(self, values: dict[str, Any], *, key: bytes | None = None) -> str:
        """Write the message for an input that fits the skill's input schema; `key` marks its fences."""
        pieces = list(_rendered(self.parts, values, self.fence))
        if key is None or not self.is_framed:
            return "".join([piece.text for piece in pieces])
        digest = hmac.new(key, digestmod="sha256")
        for piece in pieces:
            digest.update(piece.text.encode("utf-8", "surrogatepass"))
        return "".join(_marked(pieces, self.tags, mark=digest.hexdigest()[:_MARK_DIGITS]))

    def paths(self) -> list[Path]:
        """List every field the template names, in order."""
        return list(_paths(self.parts))


@lru_cache(maxsize=512)
def parse(text: str) -> Template:
    """Read a template; raises InvalidRequest that says where it is malformed."""
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise InvalidRequest(f"The template is over {MAX_BYTES:,} bytes.", path="template")
    names = sorted({match.group(1) for match in _CLOSING_TAG.finditer(text)})
    one_of = "|".join(map(re.escape, names))
    parts = _parsed(text)
    return Template(
        parts,
        fence=re.compile(rf"<(\s*)/(?=\s*(?:{one_of})(?![\w.-]))", re.I) if names else None,
        tags=re.compile(rf"<(\s*/)?\s*({one_of})\s*>") if names else None,
        is_framed=len(parts) != 1 or not isinstance(parts[0], Insert),
    )


def check(text: str, *, input_schema: dict[str, Any]) -> None:
    """Refuse a template that is malformed or names a field the input schema lacks."""
    for path in parse(text).paths():
        schema: Any = input_schema
        for position, name in enumerate(path):
            known = schema.get("properties") if isinstance(schema, dict) else None
            if known is None and position > 0:
                break  # An open object: what is inside cannot be known before the call.
            if known is None or name not in known:
                raise InvalidRequest(
                    f"The template names `{'.'.join(path)}`, but the input schema has no property `{name}` there.",
                    path="template",
                )
            schema = known[name]


def _parsed(text: str) -> tuple[Part, ...]:
    stack: list[tuple[Path, list[Part]]] = [((), [])]
    for literal, tag, at in _tokens(text):
        if literal:
            stack[-1][1].append(literal)
        if tag is None:
            continue
        if tag.startswith("#"):
            _open(stack, _path(tag[1:], at=at), at=at)
        elif tag.startswith("/"):
            _close(stack, _path(tag[1:], at=at), at=at)
        else:
            stack[-1][1].append(Insert(_path(tag, at=at)))
    if len(stack) > 1:
        raise InvalidRequest(f"The section `{'.'.join(stack[-1][0])}` is never closed.", path="template")
    return tuple(stack[0][1])


def _tokens(text: str) -> Iterator[tuple[str, str | None, int]]:
    """Yield each literal with the tag that ends it (None at the end of the text) and that tag's position."""
    position = 0
    while (start := text.find("{{", position)) >= 0:
        end = text.find("}}", start)
        if end < 0:
            raise InvalidRequest(f"The `{{{{` at character {start} is never closed.", path="template")
        yield text[position:start], text[start + 2 : end].strip(), start
        position = end + 2
    yield text[position:], None, len(text)


def _path(text: str, *, at: int) -> Path:
    name = text.strip()
    if not _PATH.match(name):
        raise InvalidRequest(
            f"The tag at character {at} is not a field name; write `{{{{ field }}}}` or `{{{{#field}}}}…{{{{/field}}}}`.",
            path="template",
        )
    return tuple(name.split("."))


def _open(stack: list[tuple[Path, list[Part]]], path: Path, *, at: int) -> None:
    if len(stack) > MAX_NESTING:
        raise InvalidRequest(f"Sections are nested over {MAX_NESTING} deep at character {at}.", path="template")
    stack.append((path, []))


def _close(stack: list[tuple[Path, list[Part]]], path: Path, *, at: int) -> None:
    opened, parts = stack[-1]
    if len(stack) == 1 or opened != path:
        raise InvalidRequest(
            f"The `{{{{/{'.'.join(path)}}}}}` at character {at} closes a section that is not open.", path="template"
        )
    stack.pop()
    stack[-1][1].append(Section(path=path, parts=tuple(parts)))


def _paths(parts: tuple[Part, ...]) -> Iterator[Path]:
    for part in parts:
        if isinstance(part, Insert):
            yield part.path
        elif isinstance(part, Section):
            yield part.path
            yield from _paths(part.parts)


def _rendered(parts: tuple[Part, ...], values: dict[str, Any], fence: re.Pattern[str] | None) -> Iterator[Piece]:
    for part in parts:
        if isinstance(part, str):
            yield Piece(part)
        elif isinstance(part, Insert):
            value = _looked_up(values, part.path)
            is_text = value is not None and not isinstance(value, int | float)
            yield Piece(_fenced(value, fence), is_value=True, name=part.path[-1] if is_text else "")
        elif _looked_up(values, part.path):
            yield from _rendered(part.parts, values, fence)


def _marked(pieces: list[Piece], tags: re.Pattern[str] | None, *, mark: str) -> Iterator[str]:
    depth = 0
    for piece in pieces:
        if not piece.is_value:
            for tag in tags.finditer(piece.text) if tags else ():
                depth = max(0, depth - 1) if tag.group(1) else depth + 1
            yield tags.sub(rf"<\g<1>\g<2>-{mark}>", piece.text) if tags else piece.text
        elif piece.name and depth == 0:
            yield f"<{piece.name}-{mark}>{piece.text}</{piece.name}-{mark}>"
        else:
            yield piece.text


def _looked_up(values: Any, path: Path) -> Any:
    for name in path:
        if not isinstance(values, dict):
            return None
        values = values.get(name)
    return values


def _fenced(value: Any, fence: re.Pattern[str] | None) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return fence.sub(r"<\1\\/", text) if fence else text
