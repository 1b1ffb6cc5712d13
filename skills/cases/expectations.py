"""What an answer must be like, as data, and where one falls short of it.

An expectation is an object with any of these, all of which must hold; empty, it only wants an answer:
`equals` (the very answer), `contains` (texts that it holds, in whatever case), `matches` (a regular expression it holds
a match of), `schema` (a JSON Schema it fits), `subset` (an object that it holds at least, at any depth), `max_words`,
`max_milliseconds`.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

from kit.errors import InvalidRequest
from skills import schemas
from skills.schemas.nodes import text_of

Expect = dict[str, Any]
MOST_TEXTS = 50
LONGEST_TEXT = 10_000
MOST_BYTES = 128 * 1024
_LONGEST_WAIT = 3_600_000
_SHOWN = 200


def check(expect: Any) -> None:
    """Raise InvalidRequest, with the path of the fault, unless it is an expectation."""
    if not isinstance(expect, dict):
        raise _refusal("", "An expectation is a JSON object.")
    if len(text_of(expect)) > MOST_BYTES:
        raise _refusal("", f"An expectation has at most {MOST_BYTES:,} bytes.")
    for name, wanted in expect.items():
        if name not in _CHECKS:
            raise _refusal(f"/{name[:40]}", f"There is no expectation `{name[:40]}`; there are {', '.join(_CHECKS)}.")
        _CHECKS[name](wanted)


def faults(expect: Expect, output: Any, *, milliseconds: int) -> list[str]:
    """Say in what an answer falls short; `expect` was checked before."""
    return [fault for name, wanted in expect.items() for fault in _TRIALS[name](wanted, output, milliseconds)]


def text(output: Any) -> str:
    """Return an answer as text; JSON as it is written."""
    return output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)


def _refusal(path: str, message: str) -> InvalidRequest:
    return InvalidRequest(message, path=path, field="expect", errors=[{"path": path, "message": message}])


def _check_anything(_: Any) -> None:
    """JSON of any form will do."""


def _check_contains(wanted: Any) -> None:
    texts = wanted if isinstance(wanted, list) else [wanted]
    fits = all(isinstance(one, str) and 0 < len(one) <= LONGEST_TEXT for one in texts)
    if not fits or not 1 <= len(texts) <= MOST_TEXTS:
        raise _refusal("/contains", f"`contains` is a text or a list of at most {MOST_TEXTS} texts.")


def _check_matches(wanted: Any) -> None:
    if not isinstance(wanted, str) or not wanted or len(wanted) > LONGEST_TEXT:
        raise _refusal("/matches", "`matches` is a regular expression.")
    try:
        schemas.check_schema(_pattern(wanted))
    except InvalidRequest as fault:
        raise _refusal("/matches", f"`matches` is not taken: {fault.message}") from fault


def _check_schema(wanted: Any) -> None:
    try:
        schemas.check_schema(wanted, at="/schema")
    except InvalidRequest as fault:
        raise _refusal(str(fault.details["path"]), fault.message) from fault


def _check_subset(wanted: Any) -> None:
    if not isinstance(wanted, dict):
        raise _refusal("/subset", "`subset` is a JSON object.")


def _check_count(wanted: Any) -> None:
    if not isinstance(wanted, int) or isinstance(wanted, bool) or not 1 <= wanted <= _LONGEST_WAIT:
        raise _refusal("", f"`max_words` and `max_milliseconds` are whole numbers from 1 to {_LONGEST_WAIT:,}.")


def _try_equals(wanted: Any, output: Any, _: int) -> Iterator[str]:
    given, expected = (output.strip() if isinstance(output, str) else output, wanted)
    if not _same(expected.strip() if isinstance(expected, str) else expected, given):
        yield f"is not {_shown(wanted)}."


def _try_contains(wanted: Any, output: Any, _: int) -> Iterator[str]:
    whole = text(output).casefold()
    for one in wanted if isinstance(wanted, list) else [wanted]:
        if one.casefold() not in whole:
            yield f"does not contain {_shown(one)}."


def _try_matches(wanted: str, output: Any, _: int) -> Iterator[str]:
    try:
        schemas.validate(_pattern(wanted), text(output))
    except InvalidRequest:
        yield f"has no match of {_shown(wanted)}."


def _try_schema(wanted: Any, output: Any, _: int) -> Iterator[str]:
    try:
        schemas.validate(wanted, output)
    except InvalidRequest as fault:
        yield f"does not fit the schema: {fault.message}"


def _try_subset(wanted: Any, output: Any, _: int) -> Iterator[str]:
    where = _lacking(wanted, output, at="")
    if where is not None:
        yield f"does not hold what is expected at {where or '/'}."


def _try_words(wanted: int, output: Any, _: int) -> Iterator[str]:
    words = len(text(output).split())
    if words > wanted:
        yield f"has {words:,} words, over {wanted:,}."


def _try_time(wanted: int, _: Any, milliseconds: int) -> Iterator[str]:
    if milliseconds > wanted:
        yield f"took {milliseconds:,} ms, over {wanted:,} ms."


def _pattern(wanted: str) -> dict[str, Any]:
    """By way of JSON Schema a pattern runs on an engine that takes linear time, whatever it says."""
    return {"type": "string", "pattern": wanted}


def _lacking(wanted: Any, given: Any, *, at: str) -> str | None:
    """Return where `given` lacks something of `wanted`; each item of a list must be in the other list somewhere."""
    if isinstance(wanted, dict):
        if not isinstance(given, dict):
            return at
        places = (
            _lacking(one, given[key], at=f"{at}/{key}") if key in given else f"{at}/{key}"
            for key, one in wanted.items()
        )
        return next((place for place in places if place is not None), None)
    if isinstance(wanted, list):
        if not isinstance(given, list):
            return at
        missing = (n for n, one in enumerate(wanted) if all(_lacking(one, item, at="") is not None for item in given))
        return next((f"{at}/{n}" for n in missing), None)
    return None if _same(wanted, given) else at


def _same(one: Any, other: Any) -> bool:
    """JSON's equality: `true` is not 1, and 1 is 1.0."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def _shown(value: Any) -> str:
    written = json.dumps(value, ensure_ascii=False)
    return written if len(written) <= _SHOWN else written[:_SHOWN] + "…"


_CHECKS: dict[str, Callable[[Any], None]] = {
    "equals": _check_anything,
    "contains": _check_contains,
    "matches": _check_matches,
    "schema": _check_schema,
    "subset": _check_subset,
    "max_words": _check_count,
    "max_milliseconds": _check_count,
}
_TRIALS: dict[str, Callable[[Any, Any, int], Iterator[str]]] = {
    "equals": _try_equals,
    "contains": _try_contains,
    "matches": _try_matches,
    "schema": _try_schema,
    "subset": _try_subset,
    "max_words": _try_words,
    "max_milliseconds": _try_time,
}
