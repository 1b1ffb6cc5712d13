"""Composes the whole answer to a prompt before a byte is sent: its blocks in tokens, and why it stops."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from emulator import citing, filling, sections, tokens, writing
from emulator.extracts import Source
from emulator.refusals import invalid

if TYPE_CHECKING:
    from emulator.prompts import Prompt

Json = dict[str, Any]


@dataclass(slots=True)
class Block:
    """One content block: its tokens, joined, are its text, its thinking or its tool input."""

    kind: str
    pieces: tuple[str, ...]
    citations: list[Json] | None = None
    tool_id: str = ""
    tool_name: str = ""
    signature: str = ""
    is_whole: bool = True
    is_shown: bool = True

    @property
    def text(self) -> str:
        """The block's whole text."""
        return "".join(self.pieces)


@dataclass(slots=True)
class Answer:
    """What the model says, and why it stops."""

    blocks: list[Block] = field(default_factory=list)
    stop_reason: str = "end_turn"
    stop_sequence: str | None = None
    stop_details: Json | None = None
    least: int = 1

    @property
    def tokens(self) -> int:
        """The output tokens: never zero once anything was generated."""
        return max(self.least, sum(len(block.pieces) for block in self.blocks))

    @property
    def thinking_tokens(self) -> int:
        """The output tokens spent on thinking."""
        return sum(len(block.pieces) for block in self.blocks if block.kind == "thinking")


def compose(prompt: Prompt, *, words: int | None = None, refusal: str | None = None) -> Answer:
    """Return the answer to a prompt, of so many words or refused where an inline marker says so."""
    if prompt.body["max_tokens"] == 0:
        return Answer(stop_reason="max_tokens", least=0)
    answer = Answer(_thinking(prompt))
    if refusal is not None:
        answer.blocks.append(_text("I can't help with that."))
        answer.stop_reason = "refusal"
        answer.stop_details = {"type": "refusal", "category": None, "explanation": "The request was declined."}
    elif words is not None and prompt.schema is None:
        answer.blocks.append(_text(writing.filler(words)))
    else:
        _respond(answer, prompt)
    _stop(answer, prompt.body.get("stop_sequences") or [])
    _cut(answer, prompt.body["max_tokens"])
    return answer


def _text(text: str, *, citations: list[Json] | None = None) -> Block:
    return Block("text", tokens.split(text), citations=citations)


def _respond(answer: Answer, prompt: Prompt) -> None:
    tool = _wanted_tool(prompt)
    if tool is not None:
        _use(answer, prompt, tool)
        return
    if prompt.schema is not None:
        answer.blocks.append(_text(json.dumps(_filled(prompt.schema, prompt), ensure_ascii=False)))
        return
    cited = citing.cite(prompt.documents, asked=writing.question(prompt)) if prompt.documents else []
    answer.blocks += [_text(sentence, citations=[citation]) for sentence, citation in cited]
    if not cited:
        answer.blocks.append(_text(writing.write(prompt)))


def _wanted_tool(prompt: Prompt) -> Json | None:
    """Choose the tool to use: the forced one, the closest one if any must be, or one that the user names."""
    tools: list[Json] = [tool for tool in prompt.body.get("tools") or () if "input_schema" in tool]
    choice = prompt.body.get("tool_choice") or {"type": "auto"}
    if not tools or prompt.results or choice["type"] == "none":
        return None
    if choice["type"] == "tool":
        return next((tool for tool in tools if tool["name"] == choice["name"]), None)
    if choice["type"] == "any":
        described = {f"{tool['name'].replace('_', ' ')} {tool.get('description') or ''}": tool for tool in tools}
        return described[sections.closest(list(described), prompt.asked)]
    asked = prompt.asked.casefold()
    return next((tool for tool in tools if _is_named(tool["name"].casefold(), asked)), None)


def _is_named(name: str, asked: str) -> bool:
    return name in asked or name.replace("_", " ") in asked


def _use(answer: Answer, prompt: Prompt, tool: Json) -> None:
    if (prompt.body.get("tool_choice") or {"type": "auto"})["type"] == "auto":
        answer.blocks.append(_text(f"I'll use {tool['name']} for that."))
    given = _filled(tool["input_schema"], prompt)
    text = json.dumps(given if isinstance(given, dict) else {}, ensure_ascii=False)
    identity = hashlib.blake2b(f"{prompt.asked}{tool['name']}{text}".encode(), digest_size=12).hexdigest()
    answer.blocks.append(
        Block("tool_use", tokens.split(text), tool_id=f"toolu_{identity}", tool_name=tool["name"]),
    )
    answer.stop_reason = "tool_use"


def _filled(schema: Json, prompt: Prompt) -> Any:
    parts = sections.separate(prompt.asked, system=prompt.system)
    text = f"{parts.given}\n{writing.document_text(prompt.documents)}" if prompt.documents else parts.given
    try:
        return filling.fill(schema, Source(sections.clean(text), parts.instructions))
    except (OverflowError, ValueError, RecursionError, TypeError, KeyError, IndexError) as error:
        raise invalid("The schema is too complex or contradicts itself.") from error


def _thinking(prompt: Prompt) -> list[Block]:
    config = prompt.body.get("thinking") or {}
    if config.get("type") not in ("enabled", "adaptive"):
        return []
    subject = " ".join(sections.clean(prompt.asked).split()[:16])
    text = f"The request is about: {subject}. I look at what is given and answer from it, briefly and to the point."
    pieces = tokens.split(text)[: config.get("budget_tokens")]
    signature = hashlib.blake2b("".join(pieces).encode(), digest_size=48).hexdigest()
    return [Block("thinking", pieces, signature=signature, is_shown=config.get("display") != "omitted")]


def _stop(answer: Answer, sequences: list[str]) -> None:
    """End the answer before the first stop sequence that it would write."""
    for position, block in enumerate(answer.blocks):
        if block.kind != "text" or not sequences:
            continue
        text = block.text
        hits = [(text.index(sequence), sequence) for sequence in sequences if sequence in text]
        if hits:
            at, answer.stop_sequence = min(hits)
            block.pieces = tokens.split(text[:at])
            del answer.blocks[position + 1 :]
            answer.stop_reason = "stop_sequence"
            return


def _cut(answer: Answer, limit: int) -> None:
    """End the answer at the last token allowed; a tool input cut short is no input."""
    left = limit
    for position, block in enumerate(answer.blocks):
        if len(block.pieces) > left:
            block.pieces = block.pieces[:left]
            block.is_whole = False
            del answer.blocks[position + 1 :]
            answer.stop_reason, answer.stop_sequence, answer.stop_details = "max_tokens", None, None
            return
        left -= len(block.pieces)
