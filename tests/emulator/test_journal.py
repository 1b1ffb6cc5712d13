"""The journal agrees with what the SDK saw, and survives the death of the emulator."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from typing import TYPE_CHECKING, Any

import anthropic
import httpx2
import pytest

from emulator import tokens

if TYPE_CHECKING:
    from pathlib import Path


def asked(text: str, **extra: Any) -> dict[str, Any]:
    """Return a small request."""
    body = {"model": "claude-haiku-5-5", "max_tokens": 2000, "messages": [{"role": "user", "content": text}]}
    return {**body, **extra}


def seen(usage: Any) -> dict[str, int]:
    """Return the usage that the SDK reported, in the journal's classes."""
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_write_5m_tokens": usage.cache_creation.ephemeral_5m_input_tokens,
        "cache_write_1h_tokens": usage.cache_creation.ephemeral_1h_input_tokens,
        "cache_read_tokens": usage.cache_read_input_tokens,
    }


def test_the_journal_holds_what_the_sdk_reported(client: anthropic.Anthropic, emulator: Any, key: str) -> None:
    rules = {"type": "text", "text": "All rules matter. " * 600, "cache_control": {"type": "ephemeral"}}
    whole = client.messages.create(**asked("Hello", system=[rules], metadata={"user_id": "tenant-7"}))
    with client.messages.stream(
        **asked("Hello", system=[rules]), extra_headers={"x-client-reference": "ev-1"}
    ) as stream:
        streamed = stream.get_final_message()

    entries = emulator.journal(key)

    assert [entry["usage"] for entry in entries] == [seen(whole.usage), seen(streamed.usage)]
    assert [entry["outcome"] for entry in entries] == ["complete", "complete"]
    assert [entry["stream"] for entry in entries] == [False, True]
    assert [entry["user_id"] for entry in entries] == ["tenant-7", None]
    assert [entry["client_reference"] for entry in entries] == [None, "ev-1"]
    assert {entry["model"] for entry in entries} == {"claude-haiku-5-5"}
    assert entries[0]["request_id"] == whole._request_id


def test_the_journal_can_be_read_from_a_number_on(client: anthropic.Anthropic, emulator: Any, key: str) -> None:
    for word in ("one", "two", "three"):
        client.messages.create(**asked(word))
    numbers = [entry["seq"] for entry in emulator.journal(key)]

    assert [entry["seq"] for entry in emulator.journal(key, since=numbers[0])] == numbers[1:]
    assert httpx2.get(f"{emulator.url}/_emulator/journal?since=x").status_code == 400


@pytest.mark.parametrize("chunks", [1, 4])
def test_a_client_that_leaves_is_billed_for_what_was_made(
    client: anthropic.Anthropic, emulator: Any, key: str, chunks: int
) -> None:
    received = []
    with client.messages.create(**asked("[[emulator:words:200]] [[emulator:chunk_ms:400]] go"), stream=True) as stream:
        for event in stream:
            if event.type == "content_block_delta" and event.delta.type == "text_delta":
                received.append(event.delta.text)
                if len(received) == chunks:
                    break

    left = time.monotonic()
    entry = emulator.entry(key)

    assert time.monotonic() - left < 1.0
    assert entry["outcome"] == "client_gone"
    assert entry["usage"]["output_tokens"] == tokens.count("".join(received))


async def test_a_client_that_leaves_a_whole_answer_is_billed_for_what_was_made(
    async_client: anthropic.AsyncAnthropic, emulator: Any, key: str
) -> None:
    call = asyncio.create_task(
        async_client.messages.create(**asked("[[emulator:words:400]] [[emulator:chunk_ms:100]] go"))
    )
    await asyncio.sleep(0.75)

    call.cancel()
    await asyncio.gather(call, return_exceptions=True)

    entry = await asyncio.to_thread(emulator.entry, key)
    assert entry["outcome"] == "client_gone"
    assert 10 < entry["usage"]["output_tokens"] < 100


def test_a_client_that_leaves_before_anything_was_made_is_not_billed(
    client: anthropic.Anthropic, emulator: Any, key: str
) -> None:
    before = emulator.get("stats")["in_flight"]
    with pytest.raises(anthropic.APITimeoutError):
        client.with_options(timeout=0.2).messages.create(**asked("[[emulator:latency:60]]"))

    give_up = time.monotonic() + 3
    while emulator.get("stats")["in_flight"] > before and time.monotonic() < give_up:
        time.sleep(0.02)

    assert emulator.get("stats")["in_flight"] == before
    assert emulator.journal(key) == []


def test_statistics_count_by_path_and_status(launch: Any) -> None:
    running = launch()
    with anthropic.Anthropic(api_key="k", base_url=running.url, max_retries=0) as client:
        client.messages.create(**asked("Hello"))
        client.models.list()
        with pytest.raises(anthropic.NotFoundError):
            client.messages.create(**asked("Hello", model="claude-none"))

    assert running.get("stats") == {
        "requests": {"/v1/messages": {"200": 1, "404": 1}, "/v1/models": {"200": 1}},
        "in_flight": 0,
        "peak_in_flight": 1,
    }
    assert running.get("health") == {"status": "ok"}


def test_the_journal_survives_a_kill(launch: Any, tmp_path: Path) -> None:
    file = tmp_path / "journal.ndjson"
    first = launch("--journal", str(file))
    with anthropic.Anthropic(api_key="k", base_url=first.url, max_retries=0) as client:
        message = client.messages.create(**asked("Hello"))
        endless = asked("[[emulator:words:500]] [[emulator:chunk_ms:500]] go")
        with client.messages.create(**endless, stream=True) as stream:
            next(iter(stream))
            first.kill(signal.SIGKILL)
            with pytest.raises(httpx2.TransportError):
                list(stream)

    second = launch("--journal", str(file))

    finished, killed = second.journal()
    assert finished["usage"] == seen(message.usage)
    assert (finished["outcome"], killed["outcome"]) == ("complete", "killed")
    assert killed["usage"]["input_tokens"] > 0
    events = [json.loads(line)["event"] for line in file.read_text().splitlines()]
    assert events == ["started", "closed", "started"]
    with anthropic.Anthropic(api_key="k", base_url=second.url, max_retries=0) as client:
        client.messages.create(**asked("Again"))
    assert [entry["seq"] for entry in second.journal()] == [1, 2, 3]


def test_a_stop_closes_the_books_of_what_was_under_way(launch: Any, tmp_path: Path) -> None:
    file = tmp_path / "journal.ndjson"
    running = launch("--journal", str(file), "--chunk-ms", "100")
    with anthropic.Anthropic(api_key="k", base_url=running.url, max_retries=0) as client:
        stream = client.messages.create(**asked("[[emulator:words:2000]] go"), stream=True)
        next(iter(stream))
        running.kill()
        with pytest.raises(httpx2.TransportError):
            list(stream)

    closed = json.loads(file.read_text().splitlines()[-1])

    assert (closed["event"], closed["outcome"]) == ("closed", "aborted")
    assert closed["usage"]["output_tokens"] > 5


def test_the_journal_can_be_emptied_with_its_file(launch: Any, tmp_path: Path) -> None:
    file = tmp_path / "journal.ndjson"
    running = launch("--journal", str(file))
    with anthropic.Anthropic(api_key="k", base_url=running.url, max_retries=0) as client:
        client.messages.create(**asked("Hello"))

    running.delete("journal")

    assert running.journal() == []
    assert file.read_bytes() == b""


async def test_a_thousand_streams_run_at_once(launch: Any) -> None:
    running = launch("--chunk-ms", "50")
    body = {**asked("[[emulator:words:40]] go"), "stream": True}
    limits = httpx2.Limits(max_connections=None)
    began = time.monotonic()

    async with httpx2.AsyncClient(limits=limits, timeout=30, headers={"x-api-key": "k"}) as client:
        answers = await asyncio.gather(*(client.post(f"{running.url}/v1/messages", json=body) for _ in range(1000)))

    assert all(answer.text.endswith('{"type": "message_stop"}\n\n') for answer in answers)
    assert running.get("stats")["peak_in_flight"] > 500
    assert len(running.journal()) == 1000
    assert time.monotonic() - began < 25
