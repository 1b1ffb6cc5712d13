"""Whoever has no key costs the database at most one look, and whoever has nothing like a key costs it none."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

from embedded import waiting
from tenants.keys import form
from tests.failure import callers
from tests.failure.callers import Told
from tests.failure.stack import Stack

REQUESTS = 100
_ADDRESS = "198.51.100.7"
_LOOK = "FROM tenants_apikey k JOIN tenants_tenant"
# What the platform does by itself in the time (writing refusals to the audit log, prices, leases), in statements.
BACKGROUND = 30


class Heard:
    """The statements that Postgres has logged since."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._begins_at = stack.postgres.log.stat().st_size

    def statements(self) -> list[str]:
        """Return them, one line each."""
        said = self._stack.postgres.log.read_bytes()[self._begins_at :].decode(errors="replace")
        entries = said.replace("\n\t", " ").splitlines()
        return [line for line in entries if "LOG:  statement: " in line or "LOG:  execute " in line]

    def looks(self) -> int:
        """Count how often a key was looked up."""
        return sum(_LOOK in " ".join(statement.split()) for statement in self.statements())


@contextmanager
def heard(stack: Stack) -> Iterator[Heard]:
    """Have Postgres log every statement for a while."""
    _set(stack, "ALTER SYSTEM SET log_statement = 'all'", shows="all")
    try:
        yield Heard(stack)
    finally:
        _set(stack, "ALTER SYSTEM RESET log_statement", shows="none")


def test_a_malformed_or_absent_key_never_touches_postgres(stack: Stack) -> None:
    malformed = ["", "x", "sg_live_short", "sk-ant-api03-something", _mistyped()]

    with heard(stack) as heard_since:
        told = asyncio.run(_knock(stack, [malformed[turn % len(malformed)] for turn in range(REQUESTS)]))
        looks, statements = heard_since.looks(), len(heard_since.statements())

    assert {one.status for one in told} <= {401, 429}
    assert looks == 0
    assert statements < BACKGROUND


def test_an_unknown_key_touches_postgres_once(stack: Stack) -> None:
    with heard(stack) as heard_since:
        told = asyncio.run(_knock(stack, [form.generate("live") for _ in range(REQUESTS)]))
        looks, statements = heard_since.looks(), len(heard_since.statements())

    assert {one.status for one in told} <= {401, 429}
    assert 0 < looks <= REQUESTS
    assert statements < REQUESTS + BACKGROUND


async def _knock(stack: Stack, keys: list[str]) -> list[Told]:
    body = {"input": {"prompt": callers.prompt(words=4)}}
    paths = [f"{url}/v1/skills/complete" for url in stack.urls]
    calls = [
        callers.post(paths[turn % len(paths)], key, body, address=_ADDRESS)  # so many are refused there for a while
        for turn, key in enumerate(keys)
    ]
    return list(await asyncio.gather(*calls))


def _mistyped() -> str:
    good = form.generate("live")
    return good[:-1] + ("A" if good[-1] != "A" else "B")


def _set(stack: Stack, statement: str, *, shows: str) -> None:
    stack.sql(statement)
    stack.sql("SELECT pg_reload_conf()")
    assert waiting.until(lambda: stack.sql("SHOW log_statement")[0]["log_statement"] == shows, seconds=5)
    time.sleep(0.2)  # sessions read the new configuration before their next statement
