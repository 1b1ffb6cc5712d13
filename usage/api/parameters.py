"""Query parameters of the usage endpoints, read strictly."""

import base64
import binascii
from collections.abc import Mapping
from datetime import date
from typing import Any

from kit.errors import InvalidRequest
from usage.models import UsageEvent
from usage.reports import Filter

_LARGEST_PAGE = 200
_KNOWN = frozenset({"from", "to", "skill", "model", "state", "limit", "cursor"})


def read(query: Mapping[str, Any], *, today: date) -> tuple[Filter, int, int | None]:
    """Return the filter, the page size and the cursor's position.

    Without `from` it is the month of `to`; without `to` it ends today. Raises `InvalidRequest`
    naming the parameter at fault.
    """
    unknown = sorted(set(query) - _KNOWN)
    if unknown:
        raise InvalidRequest(
            f"There is no parameter {unknown[0][:64]!r} here; there are {', '.join(sorted(_KNOWN))}.",
            path=unknown[0][:64],
        )
    last_day = _day(query, "to", default=today)
    first_day = _day(query, "from", default=last_day.replace(day=1))
    if first_day > last_day:
        raise InvalidRequest("`from` must not be after `to`.", path="from")
    wanted = Filter(
        first_day=first_day,
        last_day=last_day,
        skill=_text(query, "skill"),
        model=_text(query, "model"),
        state=_state(query),
    )
    return wanted, _limit(query), _position(query)


def cursor(position: int | None) -> str | None:
    """Wrap a position as an opaque cursor."""
    return None if position is None else base64.urlsafe_b64encode(f"n{position}".encode()).decode().rstrip("=")


def _day(query: Mapping[str, Any], name: str, *, default: date) -> date:
    raw = query.get(name)
    if raw is None:
        return default
    try:
        day = date.fromisoformat(raw)
    except ValueError as fault:
        raise InvalidRequest(f"`{name}` must be a day such as 2026-11-21.", path=name) from fault
    if not 2000 <= day.year <= 2999:
        raise InvalidRequest(f"`{name}` must lie between 2000-01-01 and 2999-12-31.", path=name)
    return day


def _text(query: Mapping[str, Any], name: str) -> str | None:
    raw = query.get(name)
    if raw is not None and (len(raw) > 64 or not raw.isprintable()):
        raise InvalidRequest(f"`{name}` must be a name of at most 64 characters.", path=name)
    return raw


def _state(query: Mapping[str, Any]) -> str | None:
    raw = query.get("state")
    if raw is not None and raw not in UsageEvent.State.values:
        raise InvalidRequest(f"`state` must be one of {', '.join(UsageEvent.State.values)}.", path="state")
    return raw


def _limit(query: Mapping[str, Any]) -> int:
    raw = query.get("limit", "50")
    if not (raw.isascii() and raw.isdigit() and len(raw) <= 4 and 1 <= int(raw) <= _LARGEST_PAGE):
        raise InvalidRequest(f"`limit` must be a whole number from 1 to {_LARGEST_PAGE}.", path="limit")
    return int(raw)


def _position(query: Mapping[str, Any]) -> int | None:
    raw = query.get("cursor")
    if raw is None:
        return None
    try:
        text = base64.b64decode(raw + "=" * (-len(raw) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        text = ""
    digits = text.removeprefix("n")
    if not (text.startswith("n") and digits.isdigit() and len(digits) <= 18):
        raise InvalidRequest("`cursor` is not one that this endpoint gave; start again without it.", path="cursor")
    return int(digits)
