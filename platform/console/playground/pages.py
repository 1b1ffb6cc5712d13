"""The playground's two addresses: the page, and the stream behind its button."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase, QueryDict
from django.shortcuts import redirect

from console import scope
from console.pages import page, render
from console.playground import choices, fields
from console.playground.choices import Chosen
from console.playground.trials import Trial, told
from kit.errors import InvalidRequest, NotFound, SkillgateError
from kit.middleware import envelope_response, request_id_of
from skills.api.streams import EventStream
from tenants import audit
from tenants.api.callers import address

_FIRST = "summarize"
_EXAMPLES = {
    "summarize": {
        "text": "Alice was beginning to get very tired of sitting by her sister on the bank.",
        "max_words": 12,
    }
}


@page("playground/", name="playground", right="playground.use")
def playground(request: HttpRequest) -> HttpResponseBase:
    """Show the form of a skill, as the chosen version asks for its input."""
    found = choices.skills(request)
    wanted = request.GET.get("skill", "")
    name = wanted if wanted in found else _FIRST if _FIRST in found else next(iter(found), "")
    chosen = _chosen(request, found, name=name) if name else None
    return render(
        request,
        "console/playground.html",
        title="Playground",
        skills=list(found),
        chosen=chosen,
        at=_at(chosen),
        ats=_ats(request, found[name]) if name else [],
        keys=choices.keys(request),
        key=request.GET.get("key", ""),
        fields=fields.form_of(chosen.version.input_schema, given=_EXAMPLES.get(name, {})) if chosen else None,
        may_issue=scope.may(request, "keys.issue"),
    )


@page("playground/run/", name="playground_run", right="playground.use")
def run(request: HttpRequest) -> HttpResponseBase:
    """Try a skill and answer with a stream; the work is done while it is read, outside of the wall."""
    if request.method != "POST":
        return redirect("admin:playground")
    try:
        trial = _trial(request, request.POST)
    except SkillgateError as refused:
        return envelope_response(refused, request_id=request_id_of(request))
    return EventStream(told(trial), headers={})


def _trial(request: HttpRequest, posted: QueryDict) -> Trial:
    chosen = choices.chosen(request, choices.skills(request), skill=posted.get("skill", ""), at=posted.get("at", ""))
    key = choices.key(request, posted.get("key", ""))
    given = fields.read(chosen.version.input_schema, posted)
    audit.record(
        "playground.run",
        tenant=scope.member(request).tenant,
        subject=key.public_id,
        **scope.by(request),
        key=key.name,
        skill=chosen.skill,
        version=chosen.version.number,
    )
    return Trial(
        key_id=key.pk,
        address=address(request),
        request_id=request_id_of(request) or "",
        skill=chosen.skill,
        label=chosen.label,
        version=chosen.number,
        input=given,
        max_tokens=_max_tokens(posted.get("max_tokens", "")),
        base_url=settings.BASE_URL,
    )


def _max_tokens(text: str) -> int | None:
    if not text.strip():
        return None
    if not (text.isascii() and text.isdecimal() and 0 < int(text[:10]) <= 1_000_000 and len(text) < 10):
        raise InvalidRequest("The most tokens of the answer is a whole number from 1 to 1,000,000.", path="/max_tokens")
    return int(text)


def _chosen(request: HttpRequest, found: dict[str, choices.Choice], *, name: str) -> Chosen:
    try:
        return choices.chosen(request, found, skill=name, at=request.GET.get("at", ""))
    except NotFound:
        return choices.chosen(request, found, skill=name, at="")


def _at(chosen: Chosen | None) -> str:
    if chosen is None or (chosen.label is None and chosen.number is None):
        return ""
    return f"label:{chosen.label}" if chosen.label else f"version:{chosen.number}"


def _ats(request: HttpRequest, choice: choices.Choice) -> list[tuple[str, str]]:
    labels: list[Any] = [(f"label:{name}", f"{name} (version {to.number})") for name, to in choice.labels.items()]
    numbers = [(f"version:{number}", f"version {number}") for number in choices.versions(request, choice)]
    return [("", "as callers of the key get it"), *sorted(labels), *numbers]
