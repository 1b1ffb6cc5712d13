"""`python -m tests.failure.crowd`: one process full of callers, told on standard input what to send.

It waits for the moment at which every process begins, and writes what each caller was told.
"""

import asyncio
import json
import sys
import time
from typing import Any

from tests.failure import callers


async def main(order: dict[str, Any]) -> list[dict[str, Any]]:
    """Send all calls at the same moment, each to the next web process."""
    await asyncio.sleep(max(0.0, order["begins_at"] - time.time()))
    urls, key = order["urls"], order["key"]
    calls = [
        callers.run(urls[turn % len(urls)], key, order["prompt"], max_tokens=order["max_tokens"])
        for turn in range(order["callers"])
    ]
    return [
        {"status": one.status, "body": one.body, "trouble": one.trouble, "ended_at": one.ended_at}
        for one in await asyncio.gather(*calls)
    ]


if __name__ == "__main__":
    json.dump(asyncio.run(main(json.load(sys.stdin))), sys.stdout)
