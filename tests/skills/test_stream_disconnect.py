"""The client leaves at any moment: upstream is told, the event is closed, the slot is free, within three seconds."""

import time
from collections.abc import Callable

import httpx2
import pytest

from tests.live import Live, eventually
from tests.skills.listening import SUMMARIZE, connect, listen_until, text_input

_LONG = text_input(words=400, chunk_ms=150)
_SECONDS = 3.0


def _in_a_silence_before_the_answer(live: Live) -> None:
    listen_until(live, SUMMARIZE, text_input("latency:20"), lambda heard: "run.started" in heard.names)


def _after_the_first_event(live: Live) -> None:
    listen_until(live, SUMMARIZE, _LONG, lambda heard: "run.started" in heard.names)
    # the emulator starts its books with its first byte


def _after_the_first_text(live: Live) -> None:
    listen_until(live, SUMMARIZE, _LONG, lambda heard: "text" in heard.names)


def _in_the_middle(live: Live) -> None:
    listen_until(live, SUMMARIZE, _LONG, lambda heard: heard.names.count("text") == 8)


def _before_reading_anything(live: Live) -> None:
    client = connect(live, SUMMARIZE, _LONG)
    eventually(lambda: live.outcomes() == ["running"])
    client.close()


def _while_waiting_for_json(live: Live) -> None:
    with pytest.raises(httpx2.TimeoutException):
        httpx2.post(f"{live.base_url}/v1/skills/summarize", json=_LONG, headers=live.headers, timeout=0.8)


@pytest.mark.parametrize(
    "leave",
    [
        _after_the_first_event,
        _after_the_first_text,
        _in_the_middle,
        _before_reading_anything,
        _while_waiting_for_json,
    ],
)
def test_whoever_leaves_ends_the_call_and_pays_once(everywhere: Live, leave: Callable[[Live], None]) -> None:
    leave(everywhere)
    left_at = time.monotonic()

    (event,) = everywhere.closed_events(within=_SECONDS)
    outcomes = eventually(lambda: [one for one in everywhere.outcomes() if one != "running"], within=_SECONDS)

    assert time.monotonic() - left_at < _SECONDS
    assert outcomes == ["client_gone"]
    assert event["state"] == "estimated"
    assert event["charged_tokens"] >= sum(everywhere.journal()[0]["usage"].values())
    assert everywhere.free_slots() == 1000


def test_leaving_before_claude_answers_leaves_no_open_event(everywhere: Live) -> None:
    _in_a_silence_before_the_answer(everywhere)

    (event,) = everywhere.closed_events(within=_SECONDS)

    assert event["state"] == "estimated"
    assert everywhere.free_slots() == 1000


def test_leaving_when_all_is_said_changes_nothing(everywhere: Live) -> None:
    listen_until(everywhere, SUMMARIZE, text_input(words=8), lambda heard: "usage" in heard.names)

    (event,) = everywhere.closed_events(within=_SECONDS)

    assert event["state"] == "settled"
    assert everywhere.outcomes() == ["complete"]
