"""Answers with citations: each sentence taken from a document names the exact place it stands at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from emulator import sections

if TYPE_CHECKING:
    from emulator.prompts import Document

Json = dict[str, Any]
_READ = 200_000
_CITED = 2


def cite(documents: list[Document], *, asked: str) -> list[tuple[str, Json]]:
    """Return up to two sentences with their citations, those that have most in common with what is asked."""
    wanted = sections.words(asked)
    found = [
        (len(sections.words(sentence) & wanted), -document.position, -part, sentence, document)
        for document in documents
        if document.is_citable
        for part, text in enumerate(document.parts)
        for sentence in sections.sentences(text[:_READ])
        if "[[emulator:" not in sentence
    ]
    found.sort(key=lambda one: one[:3], reverse=True)
    best = [one for one in found[:_CITED] if one[0] > 0] or found[:1]
    return [(sentence, _location(document, -part, sentence)) for _, _, part, sentence, document in best]


def _location(document: Document, part: int, sentence: str) -> Json:
    common = {"document_index": document.position, "document_title": document.title, "file_id": None}
    text = document.parts[part]
    if document.form == "text":
        start = text.index(sentence)
        place = {"type": "char_location", "start_char_index": start, "end_char_index": start + len(sentence)}
        return {**place, "cited_text": sentence, **common}
    if document.form == "pdf":
        place = {"type": "page_location", "start_page_number": part + 1, "end_page_number": part + 2}
        return {**place, "cited_text": sentence, **common}
    place = {"type": "content_block_location", "start_block_index": part, "end_block_index": part + 1}
    return {**place, "cited_text": text, **common}
