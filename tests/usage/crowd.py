"""One process of a race, run as `python -m tests.usage.crowd DATABASE KEY SIZE ROUNDS CALLERS`.

It says `ready` when it could begin, begins when a line comes in, and prints what each call was told.
"""

import asyncio
import json
import random
import sys

import django
from django.db import connection


def main(database: str, key_id: int, size: int, rounds: int, callers: int) -> None:
    """Let all callers reserve at once, and settle what they got if they go on."""
    from kit import pg
    from tenants.models import ApiKey
    from tests.usage.desk import ask, caller_of, closing_pool, settled
    from usage import ledger

    connection.settings_dict["NAME"] = database
    caller = caller_of(ApiKey.objects.select_related("tenant").get(pk=key_id))
    connection.close()

    async def one() -> list[str]:
        said = []
        for _ in range(rounds):
            try:
                reservation = await ledger.reserve(caller, ask(size))
            except Exception as refused:  # noqa: BLE001 - whatever it is, it is what the test wants to know
                said.append(type(refused).__name__)
                continue
            said.append("admitted")
            if rounds > 1:
                used = settled(random.randint(0, size))
                await ledger.settle(reservation, random.choice((used, ledger.Closing("released"))))
        return said

    async def all_of_them() -> list[list[str]]:
        await pg.fetch_one("SELECT 1 AS ready")
        print("ready", flush=True)  # noqa: T201 - how this process speaks
        sys.stdin.readline()  # nothing else is to happen in this process until then
        return await asyncio.gather(*(one() for _ in range(callers)))

    words = [word for said in asyncio.run(closing_pool(all_of_them)) for word in said]
    print(json.dumps(words), flush=True)  # noqa: T201 - how this process speaks


if __name__ == "__main__":
    django.setup()
    main(sys.argv[1], *(int(argument) for argument in sys.argv[2:6]))
