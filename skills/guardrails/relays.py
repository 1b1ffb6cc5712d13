"""The guard of a call that is relayed: what its messages become before anything is admitted, and what its events may say.

A tenant's policy has the form of a skill's. Claude's own requests and events keep theirs.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from skills.guardrails import plans, scanning
from skills.guardrails.guard import OUTWAITED_CHARACTERS, refuse_input, refuse_output, refuse_too_large
from skills.guardrails.plans import INPUT, OUTPUT, Check, Plan
from skills.guardrails.scanning import Tally
from skills.guardrails.streams import Outflow

Json = dict[str, Any]
Change = Callable[[Any, str], Any]

# Of each kind of block, where text stands; signed thinking and images cannot be looked through or changed.
_TEXTS = {
    "text": ("text",),
    "tool_use": ("input",),
    "tool_result": ("content",),
    "document": ("title", "context", "source"),
    "search_result": ("title", "source", "content"),
}
_FLOWING = {"text_delta": "text", "thinking_delta": "thinking"}


@dataclass(slots=True)
class RelayGuard:
    """`body`: the request as it may go upstream."""

    plan: Plan
    body: Json
    came_in: Tally
    went_out: Tally = field(default_factory=lambda: Tally(OUTPUT))
    _blocks: dict[int, "_Block"] = field(default_factory=dict)
    _unsaid: int = 0

    def hear(self, event: Json) -> list[Json] | None:
        """Return what may go out in place of an event by now; None for the event as it is.

        Of an answer that is blocked nothing more does; `last` raises `OutputBlocked` for it, and so does this one
        when its end is far off.
        """
        if self.went_out.blocked is not None:
            return self._outwaited(event)
        said = self._heard(event)
        return said if self.went_out.blocked is None else []

    def last(self) -> None:
        """Raise `OutputBlocked` where the answer was blocked."""
        refuse_output(self.went_out, whose="tenant")

    def _heard(self, event: Json) -> list[Json] | None:
        kind, index = event.get("type"), event.get("index")
        if kind == "message_delta":
            return self._told(event)
        if self.plan.has_output and isinstance(index, int):
            if kind == "content_block_start":
                self._blocks[index] = _Block(index, self.plan.output, self.went_out)
                return self._blocks[index].begin(event)
            if index in self._blocks:
                block = self._blocks[index]
                return block.hear(event) if kind == "content_block_delta" else [*block.rest(), event]
        return None

    def _outwaited(self, event: Json) -> list[Json]:
        self._unsaid += sum(map(len, scanning.texts(event.get("delta"))))
        if self._unsaid > OUTWAITED_CHARACTERS:
            self.last()
        return []

    def _told(self, event: Json) -> list[Json] | None:
        found = [*self.came_in.report(), *self.went_out.report()]
        return [{**event, "guardrails": found}] if found else None


class _Block:
    """One content block on its way out; the input of a tool is looked through when it is whole."""

    def __init__(self, index: int, checks: tuple[Check, ...], tally: Tally) -> None:
        self._index = index
        self._checks = checks
        self._tally = tally
        self._outflow = Outflow(checks, tally)
        self._flows = ""  # the kind of delta that flows
        self._input: list[str] = []

    def begin(self, event: Json) -> list[Json]:
        """Look through what the block begins with."""
        return [{**event, "content_block": self._judged(event.get("content_block"))}]

    def hear(self, event: Json) -> list[Json]:
        """Take in a delta and return what may go out by now."""
        delta = event.get("delta")
        kind = str(delta.get("type")) if isinstance(delta, dict) else ""
        if not isinstance(delta, dict) or kind == "signature_delta":
            return [*self.rest(), event]
        if kind == "input_json_delta":
            self._input.append(str(delta.get("partial_json", "")))
            return []
        name = _FLOWING.get(kind)
        if name is None or not isinstance(delta.get(name), str):
            return [{**event, "delta": self._judged(delta)}]
        self._flows = kind
        return self._text(self._outflow.feed(delta[name]))

    def rest(self) -> list[Json]:
        """Return what was held back, as deltas."""
        said = self._text(self._outflow.rest())
        if whole := "".join(self._input):
            self._input = []
            said.append(self._delta({"type": "input_json_delta", "partial_json": self._judged_input(whole)}))
        return said

    def _text(self, text: str) -> list[Json]:
        return [self._delta({"type": self._flows, _FLOWING[self._flows]: text})] if text else []

    def _delta(self, delta: Json) -> Json:
        return {"type": "content_block_delta", "index": self._index, "delta": delta}

    def _judged(self, value: Any) -> Any:
        return scanning.judged(value, self._checks, self._tally)

    def _judged_input(self, whole: str) -> str:
        try:
            given = json.loads(whole)
        except (ValueError, RecursionError):  # `max_tokens` cut it off
            return str(self._judged(whole))
        judged = self._judged(given)
        return whole if judged == given else json.dumps(judged, ensure_ascii=False)


async def post_relay(policy: str, body: Json) -> RelayGuard | None:
    """Check a request before anything is admitted; None where the tenant wants no checks.

    Raises `RequestTooLarge`, or `InvalidRequest` that names the check; nothing was spent then.
    """
    plan = plans.written(policy)
    if plan is None:
        return None
    if plan.max_input_bytes is not None:
        refuse_too_large(texts(body), most=plan.max_input_bytes)
    tally = Tally(INPUT)
    if plan.input:
        size = sum(map(len, texts(body)))
        body = await scanning.beside(lambda: _judged(body, plan.input, tally), characters=size)
        refuse_input(tally)
    return RelayGuard(plan, body, tally)


def relay_characters(policy: str, body: Json) -> int:
    """Count what there is to look through in a request; 0 where the tenant wants no checks of it."""
    plan = plans.written(policy)
    return sum(map(len, texts(body))) if plan is not None and plan.input else 0


def texts(body: Json) -> Iterator[str]:
    """Yield the texts of a request that are looked through."""
    found: list[str] = []

    def note(value: Any, _: str) -> Any:
        found.extend(scanning.texts(value))
        return value

    _changed(body, of_system=note, of_messages=note)
    yield from found


def _judged(body: Json, checks: tuple[Check, ...], tally: Tally) -> Json:
    """Words that change instructions are looked for where others' texts stand, which is not the system prompt."""
    of_system = tuple(check for check in checks if check.name != "injection")
    return _changed(
        body,
        of_system=lambda value, path: scanning.judged(value, of_system, tally, path=path),
        of_messages=lambda value, path: scanning.judged(value, checks, tally, path=path),
    )


def _changed(body: Json, *, of_system: Change, of_messages: Change) -> Json:
    changed = {**body, "messages": _content(body["messages"], of_messages, path="/messages")}
    if "system" in body:
        changed["system"] = _content(body["system"], of_system, path="/system")
    return changed


def _content(value: Any, change: Change, *, path: str) -> Any:
    """A text, or a list of blocks; turns are blocks whose content is another such thing."""
    if isinstance(value, list):
        return [_block(one, change, path=f"{path}/{place}") for place, one in enumerate(value)]
    return change(value, path) if isinstance(value, str) else value


def _block(block: Any, change: Change, *, path: str) -> Any:
    if not isinstance(block, dict):
        return block
    changed = dict(block)
    for name in ("content",) if "role" in block else _TEXTS.get(str(block.get("type")), ()):
        if name not in block:
            continue
        at = f"{path}/{name}"
        if name == "content":
            changed[name] = _content(block[name], change, path=at)
        elif name == "source" and isinstance(block[name], dict):
            changed[name] = _source(block[name], change, path=at)
        else:
            changed[name] = change(block[name], at)
    return changed


def _source(source: Json, change: Change, *, path: str) -> Json:
    if source.get("type") == "text":
        return {**source, "data": change(source.get("data"), f"{path}/data")}
    if source.get("type") == "content":
        return {**source, "content": _content(source.get("content"), change, path=f"{path}/content")}
    return source
