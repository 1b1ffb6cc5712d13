"""A stream's line to its client, over frames from anywhere."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from itertools import count
from typing import Any

import pytest

from config.handlers import ApiHandler
from kit.errors import NotFound
from skills.api import lines
from skills.api.lines import Line
from skills.api.sources import Recorded
from skills.api.streams import EventStream
from skills.replay import DONE, Frame
from tests.tenants.callers import a_caller

_CONTENTS = (b"data: 1\n\n", b"data: 2\n\n", DONE)


async def _frames(*contents: bytes) -> AsyncGenerator[Frame, None]:
    for number, content in enumerate(contents, start=1):
        yield Frame(number, content, is_last=content == DONE)


async def _silent() -> AsyncGenerator[Frame, None]:
    yield Frame(1, _CONTENTS[0])
    await asyncio.Event().wait()


async def _line(frames: AsyncGenerator[Frame, None]) -> Line:
    return await lines.begun(Recorded(frames), caller=a_caller(), request_id="req_1")


async def test_the_end_of_an_answer_goes_with_the_last_frame() -> None:
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await ApiHandler()._send(EventStream(await _line(_frames(*_CONTENTS)), headers={}), None, send)

    start, *parts = sent
    assert start["type"] == "http.response.start"
    assert b"".join(part["body"] for part in parts) == b"".join(_CONTENTS)
    assert [part["more_body"] for part in parts] == [*[True] * (len(parts) - 1), False]
    assert parts[-1]["body"].endswith(DONE)


async def test_what_goes_wrong_before_the_first_frame_is_raised() -> None:
    async def absent() -> AsyncGenerator[Frame, None]:
        raise NotFound("There is no such stream.")
        yield Frame(1, DONE)

    with pytest.raises(NotFound):
        await _line(absent())


async def test_each_silence_is_filled_with_a_comment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "SILENCE_SECONDS", 0.02)

    async with aclosing(await _line(_silent())) as line:
        heard = [await anext(line) for _ in range(3)]

    assert heard == [_CONTENTS[0], b": \n\n", b": \n\n"]


async def test_a_line_that_is_ended_says_why_after_what_was_read_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "_FAREWELL_SECONDS", 0.0)

    async with aclosing(await _line(_silent())) as line:
        line.end()
        first, last, *more = [part async for part in line]

    assert first == _CONTENTS[0]
    assert b"authentication_error" in last
    assert last.endswith(DONE)
    assert not more


async def test_closing_a_line_closes_what_it_reads_from_at_once() -> None:
    closed = []

    async def endless() -> AsyncGenerator[Frame, None]:
        try:
            for number in count(1):
                yield Frame(number, _CONTENTS[0])
        finally:
            closed.append(True)

    async with aclosing(await _line(endless())) as line:
        assert (await anext(line)).startswith(_CONTENTS[0])

    assert closed
