"""A tenant whose runs go by the real line to the emulator, and what the books of both sides say of them."""

import asyncio
import json
import time
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import httpx2
from django.conf import settings

from kit import control, pg
from kit.errors import SkillgateError
from skills import catalog, messages, runs
from skills.events import RunCompleted
from skills.runs import Order, Run
from tenants.keys import Caller

Row = dict[str, Any]
CLASSES = ("input_tokens", "output_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens", "cache_read_tokens")


def marker() -> str:
    """Return a word that no other prompt has."""
    return uuid4().hex


def strike(kind: str, mark: str, *, url: str = "", **wish: Any) -> None:
    """Let a fault strike the next calls whose text has the mark."""
    fault = {"kind": kind, "marker": mark, **wish}
    answer = httpx2.post(f"{url or settings.EMULATOR_URL}/_emulator/faults", json=fault)
    assert answer.status_code < 300, answer.text


def journal() -> list[Row]:
    """Return all that was billed upstream."""
    lines = httpx2.get(f"{settings.EMULATOR_URL}/_emulator/journal").text.splitlines()
    return [json.loads(line) for line in lines]


async def events() -> list[Row]:
    """Return the usage events, in order, closed ones only."""
    give_up = time.monotonic() + 10
    while True:
        rows = await pg.fetch_all("SELECT * FROM usage_event ORDER BY tenant_id, number")
        if all(row["state"] != "open" for row in rows) or time.monotonic() > give_up:
            return rows


async def heard_by_all() -> None:
    """Wait until this process hears the control channel."""
    for _ in range(500):
        if control.listener().connected:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the control channel was never heard")


async def assert_books_agree() -> None:
    """Hold the events against the journal: one for each call, settled by exactly what it billed."""
    ours = {str(row["id"]): row for row in await events()}
    theirs = {entry["client_reference"]: entry for entry in journal() if entry["client_reference"] in ours}
    for name, row in ours.items():
        if row["state"] == "settled":
            assert {one: row[one] for one in CLASSES} == theirs[name]["usage"]
        if row["state"] == "released":
            assert name not in theirs


@dataclass
class Bench:
    """A caller and the skill it runs."""

    caller: Caller
    skill: str = "complete"

    async def start(
        self,
        prompt: str,
        *,
        model: str | None = None,
        policy: Row | None = None,
        given: Row | None = None,
        max_tokens: int = 100,
        **changes: Any,
    ) -> Run:
        """Set a run going."""
        version = await catalog.resolve(self.caller.tenant_id, self.skill, sticky="1")
        if policy is not None:
            version = replace(version, policy=policy)
        order = Order(
            caller=replace(self.caller, **changes),
            version=version,
            input=given or {"prompt": prompt},
            entry_point="rest",
            request_id="req_resilience",
            max_tokens=max_tokens,
            model=model,
        )
        return await runs.start(order)

    async def ask(self, prompt: str, **options: Any) -> RunCompleted:
        """Run the skill and wait for its answer."""
        return await runs.complete(await self.start(prompt, **options))

    async def relay(self, prompt: str, *, model: str = "claude-sonnet-5") -> Row:
        """Make the same call through the Messages API."""
        body = {"model": model, "max_tokens": 100, "messages": [{"role": "user", "content": prompt}]}
        ask = messages.Ask(caller=self.caller, body=body, request_id="req_resilience")
        return await messages.complete(await messages.start(ask))

    async def refusal(self, prompt: str, **options: Any) -> SkillgateError:
        """Return the error that a run ends with."""
        try:
            answered = await self.ask(prompt, **options)
        except SkillgateError as error:
            return error
        raise AssertionError(f"there was an answer: {answered}")
