"""JSON from strangers: refused early and in words, at a cost that does not depend on how hostile it is.

Whatever `loads` returns can be written as UTF-8 JSON again and stored in a `jsonb` column.
"""

import codecs
import json
import re
from typing import Any, NoReturn

import orjson

from kit.errors import InvalidRequest, RequestTooLarge

MAX_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 64
MAX_KEYS = 10_000
MAX_VALUES = 200_000  # each value costs up to a hundred bytes of memory, however short it is on the wire
MAX_NUMBER_LENGTH = 1_000
LARGEST_FLOAT = 1e308
LARGEST_INTEGER = 2**63
_QUICK_BYTES = 256 * 1024  # in memory orjson takes a dozen times the length of a body

_ONLY_BRACKETS = bytes.maketrans(b"{}", b"[]")
_ALL_BUT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_HIGH, _LOW, _HEX = rb"\\u[dD][89abAB]", rb"\\u[dD][c-fC-F]", rb"[0-9a-fA-F]{2}"
_BAD_ESCAPE = re.compile(
    rb"\\u0000|%(high)s%(hex)s(?!%(low)s%(hex)s)|(?<!%(high)s..)%(low)s%(hex)s"
    % {b"high": _HIGH, b"low": _LOW, b"hex": _HEX}
)


def loads(raw: bytes, *, max_bytes: int = MAX_BYTES, max_keys: int = MAX_KEYS) -> Any:
    """Parse a request body, or raise InvalidRequest or RequestTooLarge and say why."""
    if len(raw) > max_bytes:
        message = f"The request body is over the limit of {max_bytes} bytes."
        raise RequestTooLarge(message, limit_bytes=max_bytes)
    colons = raw.count(b":")
    if len(raw) > MAX_VALUES or colons > max_keys or raw.count(b"{") + raw.count(b"[") > MAX_DEPTH or b"\\u" in raw:
        _refuse_hostile(raw, max_keys=max_keys)
    value = _quickly(raw, colons=colons) if len(raw) <= _QUICK_BYTES else None
    return _explained(raw) if value is None else value


def _quickly(raw: bytes, *, colons: int) -> Any:
    """Parse what is plain: no key twice in an object, and no number but small whole ones; None for anything else."""
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    keys, found = 0, [value]
    for one in found:
        kind = type(one)
        if kind is dict:
            keys += len(one)
            found += one.values()
        elif kind is list:
            found += one
        elif kind is float or (kind is int and not -LARGEST_INTEGER <= one < LARGEST_INTEGER):
            return None
    return value if keys == colons or keys == _structure(_bare(raw)).count(b":") else None


def _explained(raw: bytes) -> Any:
    """Parse in the slow way, which knows words for whatever is wrong."""
    text = _decode(raw)
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        message = f"The request body is not valid JSON: {error.msg} (line {error.lineno}, column {error.colno})."
        raise InvalidRequest(message, position=error.pos) from None


def _decode(raw: bytes) -> str:
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or 0 in raw[:2]:
        message = "The request body must be UTF-8; this looks like UTF-16 or UTF-32."
        raise InvalidRequest(message, position=0)
    if raw.startswith(codecs.BOM_UTF8):
        message = "The request body must not begin with a byte order mark."
        raise InvalidRequest(message, position=0)
    if not raw.strip(b" \t\r\n"):
        message = "The request body is empty; send a JSON document."
        raise InvalidRequest(message)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        message = f"The request body is not valid UTF-8 at byte {error.start}."
        raise InvalidRequest(message, position=error.start) from None


def _refuse_hostile(raw: bytes, *, max_keys: int) -> None:
    """Everything that is counted before parsing: each step is one pass in C, and none keeps a list of pieces long.

    What is so short and has so few signs that none of it can be too much need not be looked through.
    """
    bare = _bare(raw)
    if b"\\u" in bare:
        _refuse_bad_escapes(bare)
    if bare.count(b'"') > 2 * (max_keys + MAX_VALUES):
        _refuse_count("values", MAX_VALUES)
    structure = _structure(bare)
    if structure.count(b":") > max_keys:
        _refuse_count("keys", max_keys)
    brackets = structure.translate(_ONLY_BRACKETS, _ALL_BUT_BRACKETS)
    if structure.count(b",") + brackets.count(b"[") > MAX_VALUES:
        _refuse_count("values", MAX_VALUES)
    _refuse_depth(brackets)


def _bare(raw: bytes) -> bytes:
    """Return a body of the same length in which every quotation mark begins or ends a string."""
    return raw.replace(b"\\\\", b"__").replace(b'\\"', b"__") if b"\\" in raw else raw


def _structure(bare: bytes) -> bytes:
    """Return what stands outside of strings."""
    return b"".join(bare.split(b'"')[::2])


def _refuse_bad_escapes(bare: bytes) -> None:
    found = _BAD_ESCAPE.search(bare)
    if found is None:
        return
    what = "the NUL character" if found.group() == b"\\u0000" else "a lone surrogate"
    message = f"The request body contains {what} ({found.group().decode()}) at byte {found.start()}."
    raise InvalidRequest(message, position=found.start())


def _refuse_depth(brackets: bytes) -> None:
    """Each pass takes away the innermost pairs, so the number of passes is the depth."""
    for _ in range(MAX_DEPTH):
        if b"[]" not in brackets:
            break
        brackets = brackets.replace(b"[]", b"")
    if b"[]" in brackets or brackets.count(b"[") > MAX_DEPTH:
        message = f"The request body is nested deeper than {MAX_DEPTH} levels."
        raise InvalidRequest(message, max_depth=MAX_DEPTH)


def _refuse_count(what: str, limit: int) -> NoReturn:
    message = f"The request body has more than {limit} {what}."
    raise InvalidRequest(message, limit=limit)


def _float(text: str) -> float:
    if len(text) > MAX_NUMBER_LENGTH:
        _refuse_number(text)
    value = float(text)
    if not abs(value) <= LARGEST_FLOAT:
        _refuse_number(text)
    return value


def _integer(text: str) -> int:
    if len(text) > len(str(-LARGEST_INTEGER)):
        _refuse_number(text)
    value = int(text)
    if not -LARGEST_INTEGER <= value < LARGEST_INTEGER:
        _refuse_number(text)
    return value


def _refuse_number(text: str) -> NoReturn:
    message = f"The number {_shortened(text)} is out of range or too long."
    raise InvalidRequest(message)


def _refuse_constant(text: str) -> NoReturn:
    message = f"{text} is not a JSON number."
    raise InvalidRequest(message)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                message = f"The key {json.dumps(_shortened(name))} appears twice in the same object."
                raise InvalidRequest(message, key=_shortened(name))
            seen.add(name)
    return result


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:40]}…"


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_float, parse_int=_integer, parse_constant=_refuse_constant
)
