"""An answer that flows: wherever it is cut, what goes out is what would go out at once, and never what must not."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skills.guardrails import canary, phrases, pii, scanning, secrets
from skills.guardrails.plans import Action, Check
from skills.guardrails.scanning import Tally
from skills.guardrails.streams import Outflow

KEY = "-----BEGIN PRIVATE KEY-----\n" + "MIIabc/+DEF\n" * 40 + "-----END PRIVATE KEY-----"
MARK = "abcdefghjkmnpqrs"
PARTS = [
    "anna@example.com",
    "+41 44 668 18 00",
    "DE89 3704 0044 0532 0130 00",
    "password=abcd1234efgh",
    KEY,
    "strictly   secret",
    "a-b-c-d-e-f-g-h-j-k-m-n-p-q-r-s",
    " and then ",
    "An ordinary sentence, with a number 42 and a comma. ",
    "strictly ",
    "\n",
    "用户请求",
]


def checks(action: Action) -> tuple[Check, ...]:
    forbidden, reach = phrases.finder(["strictly secret"])
    return (
        Check("canary", action, canary.finder(MARK), reach=canary.REACH),
        Check("pii", action, pii.finder(kinds=pii.USUAL, regions=[]), reach=72, has_words=True),
        Check("secrets", action, secrets.find, reach=72, has_words=True),
        Check("forbidden", action, forbidden, reach=reach),
    )


def pieces_of(text: str, cuts: list[int]) -> list[str]:
    places = [0, *sorted({cut % (len(text) + 1) for cut in cuts}), len(text)]
    return [text[begin:end] for begin, end in pairwise(places)]


texts = st.lists(st.sampled_from(PARTS), max_size=12).map(" ".join)
cuts = st.lists(st.integers(0, 10_000), max_size=40)


@given(texts, cuts)
def test_a_redacted_stream_says_what_the_whole_text_redacted_says(text: str, cuts: list[int]) -> None:
    tally, whole = Tally("output"), Tally("output")
    outflow = Outflow(checks("redact"), tally)

    out = "".join(outflow.feed(piece) for piece in pieces_of(text, cuts)) + outflow.rest()

    assert out == scanning.judged(text, checks("redact"), whole)
    assert tally.counts == whole.counts
    assert tally.blocked is None


@given(texts, cuts)
def test_a_blocked_stream_never_let_out_any_of_what_it_was_blocked_for(text: str, cuts: list[int]) -> None:
    tally = Tally("output")
    outflow = Outflow(checks("block"), tally)
    found = scanning.look(text, checks("block"))

    out = ""
    for piece in [*pieces_of(text, cuts), None]:
        out += outflow.rest() if piece is None else outflow.feed(piece)
        if tally.blocked:
            break

    assert text.startswith(out)
    assert bool(tally.blocked) is bool(found)
    assert len(out) <= min((one.span.start for one in found), default=len(text))


@pytest.mark.parametrize("spelled", [MARK, MARK.upper(), MARK[::-1], " ".join(MARK), "--".join(MARK.upper())])
def test_the_mark_is_known_however_it_is_spelled(spelled: str) -> None:
    assert [span.kind for span in canary.finder(MARK)(f"It is {spelled}.")] == ["canary"]


def test_ordinary_text_is_held_back_by_little() -> None:
    outflow = Outflow(checks("block"), Tally("output"))
    said = "The parties agree on the delivery of the goods within thirty days. " * 40

    out = "".join(outflow.feed(said[at : at + 7]) for at in range(0, len(said), 7))

    assert len(said) - len(out) < 200
