"""From Claude's stream to a skill's answer: text with citations, or JSON that fits the promised schema."""

import json
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from kit.errors import InvalidRequest, OutputBlocked
from skills import schemas
from skills.claude import StreamEvent
from skills.guardrails import Guard
from skills.versions import Version

_MOST_PARTS = 256
_CITATION_FIELDS = (
    "type",
    "cited_text",
    "document_index",
    "document_title",
    "start_char_index",
    "end_char_index",
    "start_page_number",
    "end_page_number",
    "start_block_index",
    "end_block_index",
)


@dataclass(slots=True)
class Answer:
    """What one attempt has said so far."""

    parts: list[str] = field(default_factory=list)
    citations: list[dict[str, Any]] = field(default_factory=list)
    stop_reason: str = ""
    output: Any = None

    @property
    def text(self) -> str:
        """All text blocks together."""
        return "".join(self.parts)

    def see(self, events: list[StreamEvent]) -> list[str]:
        """Take in stream events and return the texts they add."""
        texts: list[str] = []
        for event in events:
            if event.type == "content_block_delta" and isinstance(delta := event.data.get("delta"), dict):
                if delta.get("type") == "text_delta" and isinstance(text := delta.get("text"), str):
                    texts.append(text)
                elif delta.get("type") == "citations_delta" and isinstance(delta.get("citation"), dict):
                    self.citations += citations({"citations": [delta["citation"]]})
            elif event.type == "message_delta" and isinstance(delta := event.data.get("delta"), dict):
                self.stop_reason = str(delta.get("stop_reason") or "")
        self.parts += texts
        if len(self.parts) > _MOST_PARTS:  # a small text of its own takes several times its length
            self.parts = [self.text]
        return texts


def citations(block: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a text block's citations, with the fields that clients get."""
    found = [one for one in block.get("citations") or () if isinstance(one, dict)]
    return [{name: cited[name] for name in _CITATION_FIELDS if cited.get(name) is not None} for cited in found]


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        message = f"{text[:20]} is no number in JSON"
        raise ValueError(message)
    return number


_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_finite)


class Unfit(Exception):
    """The answer is not what the skill promises; a repair can help unless the model stopped for another reason."""

    def __init__(self, message: str, *, is_repairable: bool) -> None:
        super().__init__(message)
        self.message = message
        self.is_repairable = is_repairable


def checked(answer: Answer, *, version: Version, given: dict[str, Any]) -> Answer:
    """Set the answer's output, having checked it against the version's output schema.

    Raises `Unfit`, saying why.
    """
    promised = schemas.output_schema_for(version, given)
    if promised is None:
        answer.output = answer.text
        return answer
    _refuse_unfinished(answer)
    try:
        answer.output = _DECODER.decode(answer.text)
    except (ValueError, RecursionError) as fault:
        raise Unfit("The answer is not valid JSON.", is_repairable=True) from fault
    try:
        schemas.validate(promised, answer.output)
    except InvalidRequest as fault:
        raise Unfit(f"The answer does not fit the output schema: {fault.message}", is_repairable=True) from fault
    return answer


async def judge(answer: Answer, guard: Guard, *, version: Version, given: dict[str, Any]) -> None:
    """Make of an answer what the skill's guardrails let out; raises `OutputBlocked`.

    JSON that no longer fits its schema once something is taken out of it is withheld.
    """
    judged, answer.citations = await guard.judge(answer.output, answer.citations, is_text=version.is_text)
    promised = schemas.output_schema_for(version, given)
    if promised is not None and judged != answer.output:
        try:
            schemas.validate(promised, judged)
        except InvalidRequest as fault:
            raise OutputBlocked(
                "The answer was withheld: without what the skill's checks take out, it does not fit its schema. "
                "What it used is billed.",
                check="schema",
                side="output",
            ) from fault
    answer.output = judged


def _refuse_unfinished(answer: Answer) -> None:
    if answer.stop_reason == "max_tokens":
        raise Unfit("The answer did not fit into max_tokens. Ask again with a larger max_tokens.", is_repairable=False)
    if answer.stop_reason == "refusal":
        raise Unfit("Claude declined to answer this input.", is_repairable=False)


def repair(body: dict[str, Any], answer: Answer, unfit: Unfit) -> dict[str, Any]:
    """Build the one further request that shows Claude its unfit answer and what is wrong with it."""
    return {
        **body,
        "messages": [
            *body["messages"],
            {"role": "assistant", "content": [{"type": "text", "text": answer.text or "(nothing)"}]},
            {
                "role": "user",
                "content": [{"type": "text", "text": f"{unfit.message} Answer again with the corrected JSON only."}],
            },
        ],
    }
