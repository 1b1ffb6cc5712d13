"""What a version's policy asks to be checked, read once: `policy.guardrails` and `policy.max_input_bytes`."""

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from skills.guardrails import injection, phrases, secrets
from skills.guardrails.spans import Find

Action = Literal["block", "flag", "redact"]
MOST_INPUT_BYTES = 50_000_000
INPUT, OUTPUT = "input", "output"
_FORM_REACH = 72
"""The most characters of an account, card or phone number, spaces included."""
_ANY = ("block", "flag", "redact")
_ACTIONS: dict[str, dict[str, tuple[str, ...]]] = {
    INPUT: {"injection": ("block", "flag"), "secrets": _ANY, "pii": _ANY, "forbidden": _ANY},
    OUTPUT: {"canary": _ANY, "secrets": _ANY, "pii": _ANY, "forbidden": _ANY},
}
_OPTIONS = {"pii": {"kinds", "regions"}, "forbidden": {"phrases"}}

Faults = Iterator[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Check:
    """One check: what to do about what it finds.

    `reach`: the most characters of a find that has spaces in it; `has_words`: whether a find may be a word of any length.
    """

    name: str
    action: Action
    find: Find
    reach: int = 0
    has_words: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """The checks of a version; the canary's cannot be made before its mark is known."""

    max_input_bytes: int | None = None
    input: tuple[Check, ...] = ()
    output: tuple[Check, ...] = ()
    canary: Action | None = None

    @property
    def has_output(self) -> bool:
        """Whether an answer has to be judged before it may go out."""
        return bool(self.output) or self.canary is not None


def of(policy: dict[str, Any]) -> Plan | None:
    """Return the plan of a policy that was checked at publication; None when there is nothing to do."""
    if "guardrails" not in policy and "max_input_bytes" not in policy:
        return None
    return _read(json.dumps(policy.get("guardrails", {}), sort_keys=True), policy.get("max_input_bytes"))


@lru_cache(maxsize=512)
def written(policy: str) -> Plan | None:
    """Return the plan of a tenant's policy as it is stored; None when there is nothing to do."""
    return of(json.loads(policy)) if policy else None


@lru_cache(maxsize=512)
def _read(written: str, max_input_bytes: int | None) -> Plan:
    wanted = json.loads(written)
    sides = {side: {name: _spread(given) for name, given in wanted.get(side, {}).items()} for side in (INPUT, OUTPUT)}
    canary = sides[OUTPUT].pop("canary", None)
    return Plan(
        max_input_bytes=max_input_bytes,
        input=tuple(_check(name, options) for name, options in sides[INPUT].items()),
        output=tuple(_check(name, options) for name, options in sides[OUTPUT].items()),
        canary=canary["action"] if canary else None,
    )


def _spread(given: Any) -> dict[str, Any]:
    return {"action": given} if isinstance(given, str) else dict(given)


def _check(name: str, options: dict[str, Any]) -> Check:
    action = options["action"]
    if name == "pii":
        from skills.guardrails import pii  # noqa: PLC0415 - its libraries are large, and few skills need them

        find = pii.finder(kinds=options.get("kinds", pii.USUAL), regions=options.get("regions", []))
        return Check(name, action, find, reach=_FORM_REACH, has_words=True)
    if name == "forbidden":
        find, reach = phrases.finder(options["phrases"])
        return Check(name, action, find, reach=reach)
    if name == "secrets":
        return Check(name, action, secrets.find, reach=_FORM_REACH, has_words=True)
    return Check(name, action, injection.find)


# --- At publication ---------------------------------------------------------------------------------------------------


def size_faults(size: Any) -> Faults:
    """Yield what is wrong with a policy's `max_input_bytes`."""
    if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= MOST_INPUT_BYTES:
        yield "", f"must be a whole number from 1 to {MOST_INPUT_BYTES:,}."


def relay_faults(policy: Any) -> Faults:
    """Yield what is wrong with a tenant's policy for calls that are relayed."""
    if not isinstance(policy, dict):
        yield "", "must be an object with `guardrails`, `max_input_bytes` or both."
        return
    for name, value in policy.items():
        if name not in ("guardrails", "max_input_bytes"):
            yield f"/{name}", "is neither `guardrails` nor `max_input_bytes`."
            continue
        for path, fault in (faults if name == "guardrails" else size_faults)(value):
            yield f"/{name}{path}", fault
    if _has_canary(policy.get("guardrails")):
        yield "/guardrails/output/canary", "needs a system prompt of ours; there is none here."


def _has_canary(wanted: Any) -> bool:
    output = wanted.get(OUTPUT) if isinstance(wanted, dict) else None
    return isinstance(output, dict) and "canary" in output


def faults(wanted: Any) -> Faults:
    """Yield what is wrong with a policy's `guardrails`: each fault's path in it and its wording."""
    if not isinstance(wanted, dict):
        yield "", "must be an object with `input`, `output` or both."
        return
    for side, checks in wanted.items():
        if side not in _ACTIONS:
            yield f"/{side}", "is neither `input` nor `output`."
        elif not isinstance(checks, dict):
            yield f"/{side}", "must be an object of checks."
        else:
            yield from _faults_of_side(checks, side=side, path=f"/{side}")


def _faults_of_side(checks: dict[str, Any], *, side: str, path: str) -> Faults:
    for name, given in checks.items():
        known = _ACTIONS[side].get(name)
        if known is None:
            yield f"{path}/{name}", f"is not a check; there are {', '.join(_ACTIONS[side])}."
        elif not isinstance(given, str | dict) or _spread(given).get("action") not in known:
            yield f"{path}/{name}", f"must have an action: {', '.join(known)}."
        else:
            yield from _faults_of_options(name, _spread(given), path=f"{path}/{name}")


def _faults_of_options(name: str, options: dict[str, Any], *, path: str) -> Faults:
    if unknown := sorted(options.keys() - {"action"} - _OPTIONS.get(name, set())):
        yield f"{path}/{unknown[0]}", "is not an option of this check."
    if name == "forbidden":
        yield from _faults_of_phrases(options.get("phrases"), path=f"{path}/phrases")
    if name == "pii":
        from skills.guardrails import pii  # noqa: PLC0415 - the same

        yield from _faults_of_names(options.get("kinds", []), known=pii.KINDS, path=f"{path}/kinds")
        yield from _faults_of_names(options.get("regions", []), known=pii.REGIONS, path=f"{path}/regions")


def _faults_of_phrases(given: Any, *, path: str) -> Faults:
    if not isinstance(given, list) or not 1 <= len(given) <= phrases.MOST_PHRASES:
        yield path, f"must be a list of 1 to {phrases.MOST_PHRASES} phrases."
        return
    for position, phrase in enumerate(given):
        if fault := phrases.fault(phrase):
            yield f"{path}/{position}", fault


def _faults_of_names(given: Any, *, known: Collection[str], path: str) -> Faults:
    if not isinstance(given, list) or not all(isinstance(name, str) and name in known for name in given):
        yield path, "must be a list of known names."
