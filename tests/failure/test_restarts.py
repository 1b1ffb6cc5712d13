"""Restarts in turn, behind a proxy and under load: nobody's call fails, whatever kind it is of."""

import asyncio
import os
from pathlib import Path

from embedded import waiting
from tests import nginx
from tests.failure import books, callers, proxy
from tests.failure.callers import Told
from tests.failure.stack import Stack

RESTARTS = int(os.environ.get("SKILLGATE_RESTARTS", "2"))  # each takes some seconds: set 20 for a thorough look
CALLERS = 9
_KINDS = (callers.run, callers.stream, callers.relay)
_ENDINGS = ('"type":"run"', "data: [DONE]", "message_stop")


def test_no_call_fails_while_web_processes_are_restarted_in_turn(stack: Stack, key: str, tmp_path: Path) -> None:
    assert waiting.until(lambda: all(web.is_ready() for web in stack.webs), seconds=20)

    with proxy.before(stack.ports, folder=tmp_path) as url:
        told = asyncio.run(_calls_through_restarts(stack, key, url=url))

    failed = [(one.status, one.trouble, one.text[-200:]) for one in told if not _is_whole(one)]
    print(f"\n{len(told)} calls through {RESTARTS} restarts, behind {'nginx' if nginx.NGINX else 'a relay'}")  # noqa: T201
    assert failed == [], _said_by_the_proxy(tmp_path)
    assert len(told) > 2 * CALLERS
    assert {one.status for one in told} == {200}
    assert waiting.until(lambda: not stack.open_events(), seconds=20, every=0.2)
    assert books.faults(stack) == []


async def _calls_through_restarts(stack: Stack, key: str, *, url: str) -> list[Told]:
    stop = asyncio.Event()
    crowd = [asyncio.create_task(_call_until(stop, url=url, key=key, number=number)) for number in range(CALLERS)]
    for number in range(RESTARTS):
        web = stack.webs[number % len(stack.webs)]
        await asyncio.to_thread(web.restart)
        await asyncio.sleep(0.2)
    stop.set()
    return [one for of_caller in await asyncio.gather(*crowd) for one in of_caller]


async def _call_until(stop: asyncio.Event, *, url: str, key: str, number: int) -> list[Told]:
    told: list[Told] = []
    while not stop.is_set():
        # Some end at once, some last while their process is being restarted.
        text = callers.lasting(0.8) if (number + len(told)) % 4 == 0 else callers.prompt(words=4)
        told.append(await _KINDS[number % len(_KINDS)](url, key, text))
        await asyncio.sleep(0.02)
    return told


def _is_whole(told: Told) -> bool:
    said = told.text.replace('": ', '":')
    return (
        told.status == 200
        and not told.trouble
        and any(ending in said for ending in _ENDINGS)
        and ('"type":"error"' not in said)
    )


def _said_by_the_proxy(folder: Path) -> list[str]:
    """What nginx said of calls that it could not deliver; a refused connection it tries elsewhere."""
    log = folder / "error.log"
    lines = log.read_text().splitlines() if log.exists() else []
    return [line for line in lines if "Connection refused" not in line]
