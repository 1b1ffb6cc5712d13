"""Plain answers are sensible: shorter where a summary is asked, in brackets where a translation is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import anthropic

STORY = (
    "The mill stands by the river. It has ground corn for two hundred years. The miller's daughter keeps its books. "
    "Every spring the water rises to the door. Nobody in the village remembers a year without flour."
)


def ask(client: anthropic.Anthropic, text: str, *, system: str = "") -> str:
    """Return the text of an answer."""
    message = client.messages.create(
        model="claude-haiku-4-5", max_tokens=1000, system=system, messages=[{"role": "user", "content": text}]
    )
    assert message.content[0].type == "text"
    return message.content[0].text


def test_a_summary_is_a_shorter_extract(client: anthropic.Anthropic) -> None:
    summary = ask(client, f"Summarize this.\n<text>{STORY}</text>")

    assert STORY.startswith(summary)
    assert 3 < len(summary.split()) < len(STORY.split()) / 2


@pytest.mark.parametrize(
    "wish",
    ["Use at most 7 words.", "Use no more than 7 words.", "max_words: 7", "Summary of up to 7 words", "in 7 words",
     "<max_words>7</max_words>"],
)  # fmt: skip
def test_a_summary_keeps_to_the_words_allowed(client: anthropic.Anthropic, wish: str) -> None:
    summary = ask(client, f"Summarise. {wish}\n<document>{STORY}</document>")

    assert summary == "The mill stands by the river. It"


def test_the_system_prompt_may_hold_the_instructions(client: anthropic.Anthropic) -> None:
    assert ask(client, STORY, system="Summarise the user's text in one sentence.") == "The mill stands by the river."


def test_settings_may_come_as_json(client: anthropic.Anthropic) -> None:
    asked = '{"text": "The mill stands by the river. It works.", "max_words": 3}'

    assert ask(client, asked, system="Summarise the text.") == "The mill stands"


@pytest.mark.parametrize(
    ("wish", "language"),
    [("Translate to French.", "French"), ("Translate into the German language", "German"),
     ("Translate.\ntarget_language: fr", "fr")],
)  # fmt: skip
def test_a_translation_names_its_language(client: anthropic.Anthropic, wish: str, language: str) -> None:
    assert ask(client, f"{wish}\n<text>The mill stands.</text>") == f"[{language}] The mill stands."


def test_a_label_is_chosen_from_those_named(client: anthropic.Anthropic) -> None:
    asked = "Classify the text. Labels: weather, mills, cooking.\n<text>The mills stand still.</text>"

    assert ask(client, asked) == "mills"


def test_a_question_about_a_given_text_is_answered_from_it(client: anthropic.Anthropic) -> None:
    answer = ask(client, f"Who keeps the books?\n<text>{STORY}</text>")

    assert answer == "The miller's daughter keeps its books."


def test_small_talk_takes_up_the_last_subject(client: anthropic.Anthropic) -> None:
    assert "hedgehogs in winter" in ask(client, "I like hedgehogs in winter.")


def test_words_marker_sets_the_length(client: anthropic.Anthropic) -> None:
    assert len(ask(client, "[[emulator:words:57]] go").split()) == 57


def test_a_word_limit_outweighs_a_sentence_that_the_system_prompt_mentions(client: anthropic.Anthropic) -> None:
    asked = f"<text>\n{STORY}\n</text>\n\nSummarize the text in at most 20 words."

    summary = ask(client, asked, system="Summarize. If there is nothing to summarize, say so in one sentence.")

    assert 8 < len(summary.split()) <= 20
