"""What a program that has never been here needs to know, in one page of text."""

import inspect
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string

from kit import clock, errors
from kit.errors import Unavailable
from skills import catalog

_LIVES_SECONDS = 60.0
_NO_TENANT = 0
_MEBIBYTE = 1024 * 1024


@dataclass(slots=True)
class _BuiltIn:
    """The built-in skills, read from the database at most once a minute."""

    skills: list[dict[str, Any]] = field(default_factory=list)
    read_at: float = float("-inf")


_built_in = _BuiltIn()


async def llms(request: HttpRequest) -> HttpResponse:
    """Tell what the API is, how to call it and what it refuses."""
    content = render_to_string(
        "llms.txt",
        {
            "base_url": settings.BASE_URL.rstrip("/"),
            "skills": await _skills(),
            "errors": _errors(),
            "body_megabytes": settings.MAX_BODY_BYTES // _MEBIBYTE,
        },
    )
    return HttpResponse(content, content_type="text/plain; charset=utf-8", headers={"Cache-Control": "max-age=300"})


async def _skills() -> list[dict[str, Any]]:
    if clock.monotonic() - _built_in.read_at > _LIVES_SECONDS:
        try:
            _built_in.skills = await catalog.describe(_NO_TENANT)
        except Unavailable:
            return _built_in.skills
        _built_in.read_at = clock.monotonic()
    return _built_in.skills


def _errors() -> list[dict[str, Any]]:
    """List every refusal the platform can give, by its class."""
    family = {one for one in vars(errors).values() if inspect.isclass(one) and issubclass(one, errors.SkillgateError)}
    listed = [
        {"status": one.status, "type": one.type, "meaning": (one.__doc__ or "").splitlines()[0]}
        for one in family - {errors.SkillgateError}
    ]
    return sorted(listed, key=lambda one: (one["status"], one["meaning"]))
