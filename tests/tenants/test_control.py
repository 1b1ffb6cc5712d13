"""The control channel: heard at once, missed without harm, found again after every loss."""

import asyncio
import logging
import time

import pytest
from django.db import transaction
from pytest_django import Settings

from kit import control
from kit import redis as kit_redis
from tests.tenants.valkey import Valkey


async def until(condition: object, *, seconds: float = 3.0) -> bool:
    assert callable(condition)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        await asyncio.sleep(0.01)
    return False


async def test_a_message_reaches_the_reactions_to_its_topic_and_no_other() -> None:
    heard: list[control.Message] = []
    others: list[control.Message] = []
    ends = [control.subscribe("test.topic", heard.append), control.subscribe("test.other", others.append)]
    listener = control.listener()
    assert await until(lambda: listener.connected)

    await control.announce("test.topic", key_id=7)

    assert await until(lambda: heard)
    assert heard == [{"topic": "test.topic", "key_id": 7}]
    assert others == []
    for end in ends:
        end()


async def test_async_reactions_are_awaited_and_a_failing_one_does_not_keep_others_from_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    heard = asyncio.Event()

    def fail(_: control.Message) -> None:
        raise ValueError("on purpose")

    async def react(_: control.Message) -> None:
        heard.set()

    ends = [control.subscribe("test.topic", fail), control.subscribe("test.topic", react)]
    await control.react({"topic": "test.topic"})

    assert heard.is_set()
    assert "on purpose" in caplog.text
    for end in ends:
        end()


async def test_nonsense_on_the_channel_is_ignored(valkey: Valkey) -> None:
    heard: list[control.Message] = []
    end = control.subscribe("test.topic", heard.append)
    listener = control.listener()
    assert await until(lambda: listener.connected)

    for nonsense in (b"\xff", "[]", "{}", '{"topic": 3}', "null", '{"topic": ["a"]}'):
        valkey.command("PUBLISH", control.channel(), nonsense)
    await control.announce("test.topic")

    assert await until(lambda: heard)
    end()


async def test_the_listener_comes_back_after_redis_died(own_valkey: Valkey) -> None:
    connections: list[control.Message] = []
    end = control.subscribe(control.CONNECTED, connections.append)
    listener = control.listener()
    assert await until(lambda: len(connections) == 1)

    own_valkey.kill()
    assert await until(lambda: not listener.connected)
    own_valkey.start()

    assert await until(lambda: len(connections) == 2)
    assert listener.connected
    end()


async def test_a_stalled_redis_is_noticed(own_valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "_SILENCE_SECONDS", 0.2)
    connections: list[control.Message] = []
    end = control.subscribe(control.CONNECTED, connections.append)
    control.listener()
    assert await until(lambda: len(connections) == 1)
    await asyncio.sleep(0.7)  # silence alone is no loss
    assert len(connections) == 1

    own_valkey.stall()
    await asyncio.sleep(0.7)
    own_valkey.go_on()

    assert await until(lambda: len(connections) == 2)
    end()


@pytest.mark.django_db(transaction=True)
def test_publish_waits_for_the_commit_and_says_nothing_of_what_was_rolled_back(valkey: Valkey) -> None:
    with kit_redis.blocking() as client:
        subscription = client.pubsub()
        subscription.subscribe(control.channel())
        assert subscription.get_message(timeout=1) is not None

        with transaction.atomic():
            control.publish("test.topic", key_id=1)
            assert subscription.get_message(timeout=0.1) is None
        committed = subscription.get_message(timeout=1)
        with transaction.atomic():
            control.publish("test.topic", key_id=2)
            transaction.set_rollback(True)

        assert committed is not None
        assert committed["data"] == b'{"key_id": 1, "topic": "test.topic"}'
        assert subscription.get_message(timeout=0.1) is None
        subscription.close()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("harm", ["kill", "stall"])
def test_publish_never_raises_and_hardly_waits(own_valkey: Valkey, harm: str, caplog: pytest.LogCaptureFixture) -> None:
    getattr(own_valkey, harm)()
    started = time.monotonic()

    with caplog.at_level(logging.WARNING):
        control.publish("test.topic")

    assert time.monotonic() - started < 1.5
    assert "was not sent" in caplog.text


@pytest.mark.parametrize(
    ("url", "channel"),
    [
        ("redis://127.0.0.1:6379/0", "skillgate:control"),
        ("redis://127.0.0.1:6379", "skillgate:control"),
        ("redis://127.0.0.1:6379/3", "skillgate:control:3"),
        ("unix:///run/v.sock", "skillgate:control"),
        ("unix:///run/v.sock?db=6", "skillgate:control:6"),
    ],
)
def test_a_numbered_database_has_a_channel_of_its_own(settings: Settings, url: str, channel: str) -> None:
    settings.REDIS_URL = url

    assert control.channel() == channel


async def test_a_loop_closes_its_client_when_asked_and_opens_a_new_one() -> None:
    client = kit_redis.client()
    assert kit_redis.client() is client
    await client.ping()

    await kit_redis.close()

    assert kit_redis.client() is not client
    assert await kit_redis.client().ping() is True
