"""How an attempt is booked by what was seen of it: settled only when the stream said it was complete."""

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from skills.claude import faults
from skills.claude.observation import Observation
from tests.usage.desk import ask
from usage.ledger import Closing
from usage.pricing import Band, Book, Tokens

PRICES = {
    "input": 1_000_000,
    "output": 5_000_000,
    "cache_write_5m": 1_250_000,
    "cache_write_1h": 2_000_000,
    "cache_read": 100_000,
}
BOOK = Book(version=1, bands={"claude-haiku-4-5": (Band(date(2025, 1, 1), 0, PRICES),)})
DAY = date(2026, 11, 1)
START = {
    "usage": {
        "input_tokens": 10,
        "cache_creation_input_tokens": 7,
        "cache_read_input_tokens": 5,
        "cache_creation": {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 3},
        "output_tokens": 1,
    }
}
END = {"delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 20}}


def seen(**facts: Any) -> Observation:
    """An observation of a whole stream, but for the facts given."""
    observed = Observation(is_sent=True, is_finished=True)
    observed.see_start(START)
    observed.see_end(END)
    for name, value in facts.items():
        setattr(observed, name, value)
    return observed


def closing(observed: Observation) -> Closing:
    return observed.closing(ask(1000, output=600), book=BOOK, on=DAY)


def test_a_complete_stream_is_settled_with_exactly_what_it_reported() -> None:
    closed = closing(seen())

    assert (closed.state, closed.stop_reason) == ("settled", "end_turn")
    assert closed.tokens == Tokens(input=10, output=20, cache_write_5m=4, cache_write_1h=3, cache_read=5)
    assert closed.cost_micros == 10 + 100 + 5 + 6 + 1  # 121.5, half up


def test_what_a_batch_answered_costs_what_batches_cost() -> None:
    cheap = Book(
        version=1, bands={"claude-haiku-4-5": (Band(date(2025, 1, 1), 0, {**PRICES, "batch_input": 500_000}),)}
    )

    closed = seen(service_tier="batch").closing(ask(1000, output=600), book=cheap, on=DAY)

    assert closed.cost_micros == 111  # 5 + 100 + 2.5 + 3 + 0.25


def test_a_stream_without_message_stop_is_estimated() -> None:
    closed = closing(seen(is_finished=False, fault=faults.truncated()))

    assert (closed.state, closed.error_type) == ("estimated", "upstream_truncated")
    assert closed.tokens.output >= 20


@pytest.mark.parametrize("usage", [{"output_tokens": -1}, {"output_tokens": "20"}, {"output_tokens": True}, None])
def test_a_usage_that_is_not_sound_is_estimated_at_the_bound(usage: Any) -> None:
    observed = Observation(is_sent=True, is_finished=True)
    observed.see_start(START)
    observed.see_end({"delta": {}, "usage": usage})

    closed = closing(observed)

    assert (closed.state, closed.tokens) == ("estimated", Tokens(input=400, output=600))


def test_what_was_refused_before_anything_was_billed_is_released() -> None:
    fault = replace(faults.of_error_event("overloaded_error"), is_unbilled=True)

    assert closing(Observation(is_sent=True, fault=fault)).state == "released"
    assert closing(Observation()).state == "released"


def test_a_fault_after_the_start_is_never_free() -> None:
    fault = replace(faults.of_error_event("overloaded_error"), is_unbilled=True)
    observed = Observation(is_sent=True, fault=fault)
    observed.see_start(START)

    closed = closing(observed)

    assert (closed.state, closed.tokens.prompt, closed.tokens.output) == ("estimated", 22, 600)


def test_a_cancelled_stream_is_estimated_above_what_was_seen_and_within_the_bound() -> None:
    observed = Observation(is_sent=True, is_cancelled=True, output_bytes=100)
    observed.see_start(START)

    closed = closing(observed)

    assert closed.state == "estimated"
    assert 101 <= closed.tokens.output <= 600
