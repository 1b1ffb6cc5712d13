"""Each phase of a call has its own time, its own words and its own mark in the answer; all are a 504."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, aclosing, contextmanager

import pytest
from pytest_django import Settings

from kit.errors import SkillgateError
from skills.events import RunFailed
from tests.resilience.bench import Bench, events


async def test_a_connection_that_does_not_come_about(bench: Bench, settings: Settings) -> None:
    settings.CLAUDE_CONNECT_SECONDS, settings.CLAUDE_ATTEMPTS = 0.2, 2
    with nobody_accepts() as url:
        settings.ANTHROPIC_BASE_URL = url

        error = await bench.refusal("Hello")

    assert_late(error, phase="connect")
    assert [event["state"] for event in await events()] == ["released", "released"]


@pytest.mark.parametrize("fault", ["latency:5", "silence:0"])
async def test_an_answer_that_does_not_begin(bench: Bench, settings: Settings, fault: str) -> None:
    settings.CLAUDE_FIRST_TOKEN_SECONDS = 0.3

    error = await bench.refusal(f"Hello [[emulator:{fault}]]")

    assert_late(error, phase="first_token")
    assert [event["state"] for event in await events()] == ["estimated"]


async def test_an_answer_that_falls_silent(bench: Bench, settings: Settings) -> None:
    settings.CLAUDE_SILENCE_SECONDS = 0.5

    error = await bench.refusal("Hello [[emulator:words:40]] [[emulator:silence:2]]")

    assert_late(error, phase="between_tokens")
    assert [event["state"] for event in await events()] == ["estimated"]


async def test_an_answer_that_keeps_coming_is_not_silent(bench: Bench, settings: Settings) -> None:
    settings.CLAUDE_SILENCE_SECONDS = 0.5

    await bench.ask("Hello [[emulator:words:40]] [[emulator:chunk_ms:100]]")

    assert [event["state"] for event in await events()] == ["settled"]


async def test_an_answer_that_does_not_end(bench: Bench, settings: Settings) -> None:
    settings.CLAUDE_TOTAL_SECONDS = 1.0

    error = await bench.refusal("Hello [[emulator:words:400]] [[emulator:chunk_ms:100]]")

    assert_late(error, phase="total")
    assert [event["state"] for event in await events()] == ["estimated"]


async def test_an_answer_that_nobody_takes(bench: Bench, settings: Settings) -> None:
    settings.CLAUDE_TOTAL_SECONDS = 0.5

    run = await bench.start("Hello [[emulator:words:800]]", max_tokens=2_000)
    async with aclosing(run.events()) as heard:
        await anext(heard)
        states = [event["state"] for event in await events()]
        *_, failed = [said async for said in heard]

    assert isinstance(failed, RunFailed)
    assert_late(failed.error, phase="total")
    assert states == ["estimated"]


def assert_late(error: SkillgateError, *, phase: str) -> None:
    assert (error.status, error.type, error.details) == (504, "timeout_error", {"phase": phase})


@contextmanager
def nobody_accepts() -> Iterator[str]:
    """A port whose queue of connections is full, so that the next one hangs."""
    with ExitStack() as opened:
        listener = opened.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = opened.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
