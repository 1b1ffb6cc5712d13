"""A kept connection: answers in order, each its own, and no trouble that stays unheard."""

import asyncio

import pytest
import redis

from kit import lines
from tests.tenants.valkey import Valkey


async def test_each_command_has_its_answer_and_a_refused_one_its_error() -> None:
    line = await lines.connect()

    answers = [await line.ask([("SET", "a", n), ("GET", "a"), ("LPUSH", "a", "x"), ("GET", "b")]) for n in (1, 2)]
    await line.close()

    assert [(first, second, last) for first, second, _, last in answers] == [(b"OK", b"1", None), (b"OK", b"2", None)]
    assert [type(refused) for _, _, refused, _ in answers] == [redis.ResponseError] * 2


async def test_an_answer_of_many_pieces_is_read_whole() -> None:
    line = await lines.connect()

    _, answer = await line.ask([("SET", "a", b"x" * 1_000_000), ("GET", "a")])
    await line.close()

    assert answer == b"x" * 1_000_000


async def test_who_waits_when_redis_goes_is_told(own_valkey: Valkey) -> None:
    line = await lines.connect()
    waiting = asyncio.ensure_future(line.ask([("BLPOP", "nothing", 0)]))
    await asyncio.sleep(0.01)

    own_valkey.kill()

    with pytest.raises(redis.ConnectionError):
        await asyncio.wait_for(waiting, timeout=5)
    assert not line.is_open
    await line.close()
