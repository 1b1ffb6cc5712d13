"""Message Batches by the real SDK: taken together, answered by name, billed at the batch tier."""

import time
from typing import Any

import anthropic
import pytest
from anthropic.types.messages import MessageBatch

from tests.emulator.conftest import Running


def request(name: str, text: str = "Hello") -> Any:
    params = {"model": "claude-haiku-4-5", "max_tokens": 20, "messages": [{"role": "user", "content": text}]}
    return {"custom_id": name, "params": params}


def ended(client: anthropic.Anthropic, batch: MessageBatch) -> MessageBatch:
    give_up = time.monotonic() + 30
    while (found := client.messages.batches.retrieve(batch.id)).processing_status != "ended":
        assert time.monotonic() < give_up
        time.sleep(0.02)
    return found


def outcomes(client: anthropic.Anthropic, batch: MessageBatch) -> dict[str, str]:
    return {one.custom_id: one.result.type for one in client.messages.batches.results(batch.id)}


def test_a_batch_is_worked_on_and_its_results_go_by_name(
    client: anthropic.Anthropic, emulator: Running, key: str
) -> None:
    names = [f"item-{number}" for number in range(5)]

    batch = ended(client, client.messages.batches.create(requests=[request(name) for name in names]))
    results = {one.custom_id: one.result for one in client.messages.batches.results(batch.id)}

    assert batch.request_counts.succeeded == 5
    assert set(results) == set(names)
    entries = {entry["client_reference"]: entry for entry in emulator.journal(key)}
    assert set(entries) == set(names)
    for name, result in results.items():
        assert result.type == "succeeded"
        assert result.message.usage.service_tier == entries[name]["service_tier"] == "batch"
        assert result.message.usage.output_tokens == entries[name]["usage"]["output_tokens"]


def test_each_fault_of_an_item_is_that_items(client: anthropic.Anthropic, emulator: Running, key: str) -> None:
    sent = [
        request("fine"),
        request("refused", "[[emulator:http_400]]"),
        request("broken", "[[emulator:drop]]"),
        request("late", "[[emulator:expired]]"),
        {"custom_id": "nonsense", "params": {"model": "claude-haiku-4-5"}},
    ]

    batch = ended(client, client.messages.batches.create(requests=sent))

    assert outcomes(client, batch) == {
        "fine": "succeeded",
        "refused": "errored",
        "broken": "errored",
        "late": "expired",
        "nonsense": "errored",
    }
    assert [entry["client_reference"] for entry in emulator.journal(key)] == ["fine"]


def test_a_cancelled_batch_ends_without_billing_the_rest(
    client: anthropic.Anthropic, emulator: Running, key: str
) -> None:
    batch = client.messages.batches.create(requests=[request("slow", "[[emulator:latency:60]]"), request("never")])
    with pytest.raises(anthropic.AnthropicError):
        list(client.messages.batches.results(batch.id))

    client.messages.batches.cancel(batch.id)

    assert ended(client, batch).request_counts.canceled == 2
    assert outcomes(client, batch) == {"slow": "canceled", "never": "canceled"}
    assert emulator.journal(key) == []


def test_batches_are_listed_to_their_key_alone(client: anthropic.Anthropic) -> None:
    made = [client.messages.batches.create(requests=[request("one")]).id for _ in range(3)]

    assert [one.id for one in client.messages.batches.list(limit=2)] == made[::-1]
    stranger = client.with_options(api_key="a-stranger")
    assert made[0] not in [one.id for one in stranger.messages.batches.list()]
    with pytest.raises(anthropic.NotFoundError):
        stranger.messages.batches.retrieve(made[0])


@pytest.mark.parametrize(
    "requests",
    [[], [request("one"), request("one")], [request("not a name")], [{"custom_id": "one"}]],
    ids=["none", "twice", "name", "empty"],
)
def test_what_is_no_batch_is_refused(client: anthropic.Anthropic, requests: list[Any]) -> None:
    with pytest.raises(anthropic.BadRequestError):
        client.messages.batches.create(requests=requests)


def test_a_fault_of_the_endpoint_strikes_it(client: anthropic.Anthropic, emulator: Running) -> None:
    emulator.post("faults", kind="http_529", count=1, path="/v1/messages/batches")

    with pytest.raises(anthropic.InternalServerError) as raised:
        client.messages.batches.create(requests=[request("one")])

    assert raised.value.status_code == 529
