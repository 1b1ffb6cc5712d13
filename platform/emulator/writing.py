"""Writes plain answers: extracts, pseudo-translations, labels, answers from documents, small talk. Always the same."""

from __future__ import annotations

import re
from itertools import cycle, islice
from typing import TYPE_CHECKING

from emulator import sections

if TYPE_CHECKING:
    from emulator.prompts import Document, Prompt
    from emulator.sections import Sections

_LIMIT = re.compile(
    r"(?:at most|no more than|not more than|up to|under|within|maximum(?: of)?|max(?:imum)?[_ ]words\W{1,4}|fewer than|in)"
    r"\s*(\d{1,5})(?:\s*words?)?",
    re.I,
)
_WORDS_LIMIT = re.compile(r"max(?:imum)?[_ ]words\W{1,4}\d|\d\s*words?\b", re.I)
_SENTENCES_LIMIT = re.compile(
    r"(?:max(?:imum)?[_ ]sentences\W{1,4}(\d{1,3})|(\d{1,3}|one|two|three)\s+sentences?\b)", re.I
)
_NUMBERS = {"one": 1, "two": 2, "three": 3}
_SUMMARY = re.compile(r"\b(summar|tl;?dr|condens|shorten|key points|abstract|digest)", re.I)
_TRANSLATION = re.compile(r"\btranslat", re.I)
_CLASSIFICATION = re.compile(r"\b(classif|categor|label|sentiment)", re.I)
_LANGUAGE = re.compile(
    r"(?:target[_ ]lang(?:uage)?|target[_ ]locale|language|lang)\W{1,4}([A-Za-z]{2,20}(?:-[A-Za-z]{2,8})?)"
    r"|\b(?:to|into|in) (?:the )?([A-Z][a-z]{2,20}\b|[a-z]{2}(?:-[A-Z]{2})?(?=[.:,\n]|$))",
)
_LABELS = re.compile(
    r"(?:labels?|categor(?:y|ies)|classes|one of(?: the following)?|options)\s*[:=(]\s*([^\n.;)]+)", re.I
)
_QUESTION = re.compile(r"[^.!?\n]*\?")
_FILLER_TEXT = (
    "the platform answers every request with care and keeps an exact account of what was asked what was written and "
    "what it cost so that nothing is lost between one word and the next while the stream goes on"
)
_FILLER = _FILLER_TEXT.split()


def write(prompt: Prompt) -> str:
    """Return the answer to a prompt that asks for neither a tool nor a schema."""
    if prompt.results:
        return (
            f"Based on the result: {sections.clean(' '.join(prompt.results)).strip()[:600] or 'nothing was returned.'}"
        )
    parts = sections.separate(prompt.asked, system=prompt.system)
    if _TRANSLATION.search(parts.instructions):
        return translate(parts)
    if _SUMMARY.search(parts.instructions):
        return summarise(parts, documents=prompt.documents)
    if prompt.documents:
        return answer(question(prompt), document_text(prompt.documents))
    if _CLASSIFICATION.search(parts.instructions) and (labels := _labels(parts.instructions)):
        return sections.closest(labels, parts.given) if sections.words(parts.given) else labels[0]
    if parts.given not in parts.instructions and "?" in parts.instructions:
        return answer(question(prompt), parts.given)
    return converse(parts)


def filler(count: int) -> str:
    """Return a text of exactly so many words."""
    return " ".join(islice(cycle(_FILLER), count))


def question(prompt: Prompt) -> str:
    """Return what is asked: the last question of the user's text, or all of it."""
    asked = sections.separate(prompt.asked, system="").instructions
    found = _QUESTION.findall(asked)
    return found[-1].strip() if found else asked


def document_text(documents: list[Document]) -> str:
    """Return the text of all documents."""
    return "\n".join(part for document in documents for part in document.parts)


def answer(asked: str, text: str) -> str:
    """Return the sentence of a text that has most in common with a question."""
    return sections.closest(sections.sentences(sections.clean(text)), asked) or "The documents do not say."


def translate(parts: Sections) -> str:
    """Return the given text behind the name of the language it should be in."""
    named = _LANGUAGE.findall(parts.instructions)
    language = next((found[0] or found[1] for found in reversed(named)), "Translation")
    return f"[{language}] {parts.given}"


def summarise(parts: Sections, *, documents: list[Document]) -> str:
    """Return the given text's own leading sentences, shorter than it and within the words allowed."""
    text = document_text(documents) if documents else parts.given
    found = sections.sentences(sections.clean(text))
    kept = found[: sentence_limit(parts.instructions) or max(1, (len(found) + 2) // 3)]
    limit = word_limit(parts.instructions) or max(8, len(text.split()) // 2)
    taken = " ".join(kept).split()
    return " ".join(taken[:limit]) or "There is nothing to summarise."


def word_limit(instructions: str) -> int | None:
    """Return how many words the instructions allow, if they say so."""
    if not _WORDS_LIMIT.search(instructions):
        return None
    limits = [int(found.group(1)) for found in _LIMIT.finditer(instructions) if "word" in found.group(0).lower()]
    return max(1, limits[-1]) if limits else None


def sentence_limit(instructions: str) -> int | None:
    """Return how many sentences the instructions allow, if they say so."""
    found = next(iter(reversed(list(_SENTENCES_LIMIT.finditer(instructions)))), None)
    worded = max((limit.start() for limit in _WORDS_LIMIT.finditer(instructions)), default=-1)
    if found is None or found.start() < worded:  # what is asked last is what is meant
        return None
    text = (found.group(1) or found.group(2)).lower()
    return max(1, _NUMBERS.get(text) or int(text))


def converse(parts: Sections) -> str:
    """Return a polite reply that takes up the subject."""
    subject = next(iter(sections.sentences(parts.given)), "").rstrip(".!? ")
    subject = " ".join(subject.split()[:24])
    if not subject:
        return "Thank you. What would you like to talk about?"
    return f'You wrote: "{subject}". Here is what I can say about it: the main point is clear, and I am glad to go on.'


def _labels(instructions: str) -> list[str]:
    found = _LABELS.search(instructions)
    if not found:
        return []
    names = re.split(r",|/|\||\bor\b|\band\b", found.group(1))
    return [name.strip(" \"'`[]*") for name in names if name.strip(" \"'`[]*")]
