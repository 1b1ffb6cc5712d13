"""Which models a key may use: those with a price, and of them those the key names."""

import re
from typing import Any

from kit import clock
from kit.errors import InvalidRequest, NotAllowed, NotFound
from skills.admission import refuse_foreign_model
from tenants.keys import Caller
from usage import pricing
from usage.pricing import Book

Json = dict[str, Any]

_DATED = re.compile(r"-\d{8}$")
_MOST_LISTED = 1000
_UNKNOWN_DATE = "1970-01-01T00:00:00Z"
"""The API's own word for a release date that is not known; price lists do not tell it."""


async def check_allowed(caller: Caller, model_id: str) -> None:
    """Raise `NotFound` for a model without a price, `NotAllowed` for one that the key may not use."""
    await prices(caller, model_id)
    refuse_foreign_model(caller, model_id)


async def prices(caller: Caller, model_id: str) -> Book:
    """Return the price book of a caller; raises `NotFound` for a model without a price in it."""
    book = await pricing.current(caller.tenant_id)
    try:
        book.in_force(model_id, on=clock.now().date())
    except NotAllowed as unpriced:
        raise NotFound(f"model: {model_id[:64]}", reason="price_unknown") from unpriced
    return book


async def models(caller: Caller) -> list[str]:
    """Return the ids of the models a key may use, in alphabetical order."""
    book = await pricing.current()
    return sorted(one for one in book.priced(on=clock.now().date()) if caller.may_use(one))


async def model(caller: Caller, model_id: str) -> Json:
    """Describe one model. Raises `NotFound` alike for what is unknown and what the key may not use."""
    try:
        await check_allowed(caller, model_id)
    except NotAllowed as foreign:
        raise NotFound(f"model: {model_id[:64]}") from foreign
    return _described(model_id)


async def list_models(caller: Caller, *, limit: int, after_id: str = "", before_id: str = "") -> Json:
    """Return one page of the models a key may use. Raises `InvalidRequest` for an unknown cursor."""
    if not 1 <= limit <= _MOST_LISTED:
        raise InvalidRequest(f"limit: must be between 1 and {_MOST_LISTED}", path="limit")
    known = await models(caller)
    if before_id:
        end = _position(known, before_id)
        start = max(0, end - limit)
        has_more = start > 0
    else:
        start = _position(known, after_id) + 1 if after_id else 0
        end = start + limit
        has_more = end < len(known)
    page = known[start:end]
    return {
        "data": [_described(one) for one in page],
        "has_more": has_more,
        "first_id": page[0] if page else None,
        "last_id": page[-1] if page else None,
    }


def _described(model_id: str) -> Json:
    return {"type": "model", "id": model_id, "display_name": _display_name(model_id), "created_at": _UNKNOWN_DATE}


def _display_name(model_id: str) -> str:
    """Read `claude-opus-4-8` as `Claude Opus 4.8`."""
    words = _DATED.sub("", model_id).split("-")
    name = " ".join(word.capitalize() for word in words if not word.isdigit())
    number = ".".join(word for word in words if word.isdigit())
    return f"{name} {number}".strip()


def _position(known: list[str], model_id: str) -> int:
    if model_id not in known:
        raise InvalidRequest(f"cursor: there is no model {model_id[:64]!r}", path="cursor")
    return known.index(model_id)
