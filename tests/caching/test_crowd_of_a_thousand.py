"""Crowds over several server processes: one upstream call, an answer for each, and the books agree."""

import asyncio
import http.client
import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from django.core.management import call_command

from kit import clock
from tenants import keys
from tests.caching.asking import ECHO, Asked, words
from tests.live import Live, eventually, running

CROWD = 1_000
MOST_TRIES = 30
Answer = tuple[int, dict[str, Any]]


async def _ask_all(urls: list[str], *, key: str, body: dict[str, Any], times: int) -> list[Answer]:
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=120)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers={"X-API-Key": key}) as session:

        async def ask(number: int) -> Answer:
            for _ in range(MOST_TRIES):
                async with session.post(f"{urls[number % len(urls)]}{ECHO}", json=body) as response:
                    answer = response.status, await response.json()
                if answer[0] != http.HTTPStatus.SERVICE_UNAVAILABLE:  # a busy machine: Retry-After says so
                    break
                await asyncio.sleep(1)
            return answer

        return list(await asyncio.gather(*(ask(number) for number in range(times))))


def test_a_thousand_identical_requests_at_once_make_one_upstream_call(kept: Asked, live_uvicorn: Live) -> None:
    live = kept.live
    key = live.issue_key(concurrent_calls=2 * CROWD)
    urls = [live.base_url, live_uvicorn.base_url]
    asyncio.run(_ask_all(urls, key=key.secret, body=words(3), times=2))  # so that both servers know key and skill

    answers = asyncio.run(_ask_all(urls, key=key.secret, body=words(40, chunk_ms=150), times=CROWD))

    refused = Counter(body["error"]["message"] for status, body in answers if status != 200)
    assert refused == {}
    assert len({body["output"] for _, body in answers}) == 1
    assert Counter(body["cache"]["outcome"] for _, body in answers) == {"miss": 1, "hit": CROWD - 1}
    assert _calls_of(live, key.key.public_id) == ["complete", "complete"]
    eventually(lambda: all(one["state"] != "open" for one in live.events()), within=30)
    events = [one for one in live.events() if one["state"] != "released"]  # of tries that came too late
    assert Counter((one["purpose"], one["state"]) for one in events) == {
        ("answer", "settled"): 1 + 1,
        ("cached", "settled"): CROWD - 1 + 1,
    }
    assert sum(one["charged_tokens"] for one in events if one["purpose"] == "cached") == 0
    assert sum(one["cost_micros"] for one in events if one["purpose"] == "cached") == 0
    assert live.do(_ledger_faults) == []


def test_followers_get_their_answer_when_the_process_that_leads_is_killed(
    kept: Asked, live_environment: dict[str, str], tmp_path: Path
) -> None:
    live, body = kept.live, words(30, chunk_ms=300)
    with (
        running("server", "--port", "0", log=tmp_path / "leader", env=live_environment) as leader,
        _asked(leader.url, live.key, body),
        ThreadPoolExecutor(5) as threads,
    ):
        eventually(lambda: live.outcomes() == ["running"], within=20)
        followers = [threads.submit(live.post, ECHO, body) for _ in range(5)]
        eventually(lambda: kept.purposes().count("cached") == 5, within=20)

        leader.kill()
        answers = [follower.result() for follower in followers]

    assert [answer.status_code for answer in answers] == [200] * 5
    assert len({answer.json()["output"] for answer in answers}) == 1
    assert Counter(answer.json()["cache"]["outcome"] for answer in answers) == {"miss": 1, "hit": 4}
    assert len(live.journal()) == 2
    assert Counter(kept.purposes()) == {"answer": 2, "cached": 5}


def test_the_next_takes_over_from_a_leader_whose_client_left(kept: Asked) -> None:
    live, body = kept.live, words(80, chunk_ms=200)
    with ThreadPoolExecutor(2) as threads:
        with _asked(live.base_url, live.key, body):
            eventually(lambda: live.outcomes() == ["running"], within=20)
            followers = [threads.submit(live.post, ECHO, body) for _ in range(2)]
            eventually(lambda: kept.purposes().count("cached") == 2, within=20)
        answers = [follower.result().json() for follower in followers]

    assert Counter(answer["cache"]["outcome"] for answer in answers) == {"miss": 1, "hit": 1}
    assert len({answer["output"] for answer in answers}) == 1
    assert len(live.journal()) == 2


def test_a_follower_whose_key_is_revoked_waits_no_longer(kept: Asked) -> None:
    live, body = kept.live, words(60, chunk_ms=200)
    issued = live.issue_key()
    with ThreadPoolExecutor(2) as threads:
        leader = threads.submit(live.post, ECHO, body)
        eventually(lambda: live.outcomes() == ["running"], within=20)
        follower = threads.submit(live.post, ECHO, body, headers={"X-API-Key": issued.secret})
        eventually(lambda: kept.purposes() == ["answer", "cached"], within=20)
        live.do(lambda: keys.revoke(issued.key, reason="a test", now=clock.now()))

        refused = follower.result()
        assert not leader.done()

    assert refused.status_code == 401
    assert [event["state"] for event in live.closed_events(2)] == ["settled", "released"]


@contextmanager
def _asked(url: str, key: str, body: dict[str, Any]) -> Iterator[None]:
    """Send a request whose client leaves at the end of the block without having read an answer."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    headers = {"X-API-Key": key, "Content-Type": "application/json"}
    connection.request("POST", ECHO, json.dumps(body), headers=headers)
    try:
        yield
    finally:
        connection.close()


def _ledger_faults() -> list[str]:
    """Costs apart: the servers may still book by a price version that went with the test before."""
    said = StringIO()
    with suppress(SystemExit):
        call_command("verify_ledger", "--json", stdout=said)
    report = json.loads(said.getvalue())
    return [str(one) for one in report["findings"] if one["check"] != "I4 costs"]


def _calls_of(live: Live, public_id: str) -> list[str]:
    return replace(live, public_id=public_id).outcomes()
