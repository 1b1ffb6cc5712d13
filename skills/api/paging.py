"""Lists of analyses and of batches: a page of them, as the URL asks for it."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.http import QueryDict
from drf_spectacular.utils import OpenApiParameter

from kit import ids
from kit.errors import InvalidRequest
from skills.analyses import reading
from skills.analyses.models import Analysis
from skills.analyses.states import PREFIXES

_STATES = tuple(Analysis.State.values)
_DEFAULT, _MOST = 20, 100
PARAMETERS = [
    OpenApiParameter("state", str, enum=_STATES, many=True, description="Those in one of these states."),
    OpenApiParameter("skill", str, description="Those of this skill."),
    OpenApiParameter("limit", int, description=f"How many at most: 1 to {_MOST}, {_DEFAULT} unless said."),
    OpenApiParameter("after", str, description="The `next` of the page before."),
]
Row = dict[str, Any]


async def page(query: QueryDict, tenant_id: int, *, kind: str, described: Callable[[Row], Row]) -> Row:
    """Return the page of a tenant's list, the newest first, that a URL asks for.

    Raises `InvalidRequest`.
    """
    limit = _limit(query.get("limit"))
    rows = await reading.page(
        tenant_id,
        after=_cursor(query.get("after"), prefix=PREFIXES[kind]),
        limit=limit + 1,
        states=_states(query.getlist("state")),
        skill=_skill(query.get("skill")),
        kind=kind,
    )
    shown = [described(row) for row in rows[:limit]]
    has_more = len(rows) > limit
    return {"data": shown, "has_more": has_more, "next": shown[-1]["id"] if has_more else None}


def _limit(text: str | None) -> int:
    if text is None:
        return _DEFAULT
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= _MOST:
        raise InvalidRequest(f"`limit` must be from 1 to {_MOST}.", path="limit")
    return int(text)


def _cursor(text: str | None, *, prefix: str) -> UUID | None:
    found = None if text is None else ids.decode(prefix, text)
    if text is not None and found is None:
        raise InvalidRequest("`after` must be the id of the last one seen.", path="after")
    return found


def _states(asked: list[str]) -> list[str]:
    for state in asked:
        if state not in _STATES:
            raise InvalidRequest(f"`state` is one of {', '.join(_STATES)}.", path="state")
    return asked


def _skill(text: str | None) -> str | None:
    if text is not None and "\0" in text:
        raise InvalidRequest("`skill` is the name of one.", path="skill")
    return text
