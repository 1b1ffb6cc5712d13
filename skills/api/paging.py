"""Lists of analyses and of batches: how many, after which, in which states."""

from uuid import UUID

from kit import ids
from kit.errors import InvalidRequest
from skills.analyses.models import Analysis

STATES = tuple(Analysis.State.values)
_MOST_PER_PAGE = 100


def limit(text: str | None) -> int:
    """This function will read how many are wanted; raises `InvalidRequest`."""
    if text is None:
        return 20
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= _MOST_PER_PAGE:
        raise InvalidRequest(f"`limit` must be from 1 to {_MOST_PER_PAGE}.", path="limit")
    return int(text)


def cursor(text: str | None, *, prefix: str) -> UUID | None:
    """This function will read the id after which a page begins; raises `InvalidRequest`."""
    found = None if text is None else ids.decode(prefix, text)
    if text is not None and found is None:
        raise InvalidRequest("`after` must be the id of the last one seen.", path="after")
    return found


def states(asked: list[str]) -> list[str]:
    """This function will read the states that are wanted; raises `InvalidRequest`."""
    for state in asked:
        if state not in STATES:
            raise InvalidRequest(f"`state` is one of {', '.join(STATES)}.", path="state")
    return asked
