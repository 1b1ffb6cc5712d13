"""Our books beside the provider's: every difference has a name, and the names add up to it exactly."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import httpx2
import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from kit import clock
from tests.finance.books import estimate, use
from tests.live import ROOT
from tests.usage.desk import Desk, closing_pool, open_desk
from usage import alerts, ledger, pricing, reconciliation
from usage.ledger import Closing
from usage.pricing import Tokens

SetClock = Callable[[str], None]
DAY = date(2026, 7, 15)
NOW = datetime(2026, 7, 17, 6, tzinfo=UTC)
USAGE = (
    "usage_date_utc,model_version,api_key,workspace,usage_type,context_window,usage_input_tokens_no_cache,"
    "usage_input_tokens_cache_write_5m,usage_input_tokens_cache_write_1h,usage_input_tokens_cache_read,usage_output_tokens,"
    "web_search_count,inference_geo,speed\n"
)
COSTS = "usage_date_utc,model,workspace,api_key,usage_type,context_window,token_type,cost_usd,list_price_usd,cost_type,inference_geo,speed\n"


@pytest.fixture
def used(prices: None, set_clock: SetClock) -> Desk:
    """Three million input tokens of haiku on the day, in one of the last time zones."""
    set_clock("2026-07-15 12:00:00+00")
    desk = open_desk(timezone="Pacific/Auckland")
    use(desk, [1_000_000, 2_000_000])
    return desk


class Books:
    """The console's exports of a day, as files."""

    def __init__(self, where: Path) -> None:
        self.usage, self.costs = where / "usage.csv", where / "costs.csv"
        self.usage.write_text(USAGE)
        self.costs.write_text(COSTS)

    def say(
        self, tokens: int, *, model: str = "claude-haiku-4-5-20251001", key: str = "platform", tier: str = "standard"
    ) -> None:
        with self.usage.open("a") as file:
            file.write(f"2026-07-15,{model},{key},Default,{tier},≤ 200k,{tokens},0,0,0,0,0,global,\n")

    def cost(self, dollars: str, *, model: str = "Claude Haiku 4.5", token_type: str = "input_no_cache") -> None:
        with self.costs.open("a") as file:
            file.write(
                f"2026-07-15,{model},Default,platform,message,≤ 200k,{token_type},{dollars},{dollars},token,global,\n"
            )

    def compared(self) -> dict[str, int]:
        kept = reconciliation.reconcile(DAY, now=NOW, usage_file=self.usage, cost_file=self.costs)
        assert sum(kept.buckets.values()) == kept.difference_micros
        for line in kept.lines:
            assert sum(line["buckets"].values()) == line["theirs"] - line["ours"]
        return {name: micros for name, micros in kept.buckets.items() if micros}


@pytest.fixture
def books(tmp_path: Path) -> Books:
    return Books(tmp_path)


def test_books_that_agree_have_no_difference(used: Desk, books: Books) -> None:
    books.say(3_000_000)
    books.cost("3.00")

    assert books.compared() == {}
    assert reconciliation.latest()[0].is_within_tolerance
    assert alerts.open_for(None) == []


def test_each_difference_is_in_its_bucket(used: Desk, books: Books, set_clock: SetClock, settings: Settings) -> None:
    settings.ANTHROPIC_KEY_NAMES = ["platform"]
    set_clock("2026-07-14 23:59:58+00")
    straddling = asyncio.run(closing_pool(lambda: used.reserve(40, model="claude-opus-4-8")))
    set_clock("2026-07-15 00:00:03+00")
    asyncio.run(closing_pool(lambda: ledger.settle(straddling, Closing("settled", Tokens(input=40), cost_micros=200))))
    set_clock("2026-07-15 13:00:00+00")
    estimate(used, 1000)  # 500 input tokens as its bound
    use(used, [700], model="claude-sonnet-5")

    books.say(3_000_000)  # the estimate was never taken there
    books.say(40, model="claude-opus-4-8")  # what straddled counts as the day's there
    books.say(9_000, model="claude-opus-5")  # no such call here
    books.say(50_000, key="laptop")
    books.cost("4.40")

    found = books.compared()

    assert found["boundary"] == 40 * 5
    assert found["outside_the_platform"] == 50_000
    assert found["missing_here"] == 9_000 * 5
    assert found["missing_there"] == -(500 + 500 * 5) - 700 * 2
    assert "unexplained" not in found
    kept = reconciliation.latest()[0]
    assert (kept.ours_micros, kept.theirs_micros) == (3_000_000 + 1000 * 5 + 700, 4_400_000)


def test_equal_tokens_at_another_price_are_a_difference_of_price(used: Desk, books: Books) -> None:
    books.say(3_000_000)
    books.cost("3.30")
    books.cost("0.02", model="", token_type="")

    assert books.compared() == {"price": 300_000, "outside_the_platform": 20_000}


def test_what_nothing_explains_is_told_once_and_ends_when_it_is_found(used: Desk, books: Books) -> None:
    books.say(3_100_000)
    books.cost("3.10")

    assert [books.compared(), books.compared()] == [{"unexplained": 100_000}] * 2
    (alert,) = alerts.open_for(None)
    assert alert.title == "The provider's report of 2026-07-15 differs by $0.100000"
    assert "unexplained: $0.100000" in alert.text
    books.__init__(books.usage.parent)  # type: ignore[misc]  # the files begin anew
    books.say(3_000_000)
    books.cost("3.00")
    assert books.compared() == {}
    assert alerts.open_for(None) == []


def test_buckets_that_cancel_out_are_not_within_the_tolerance(used: Desk, books: Books) -> None:
    books.say(2_000_000)
    books.cost("3.00")

    assert books.compared() == {"unexplained": -1_000_000, "price": 1_000_000}
    assert not reconciliation.latest()[0].is_within_tolerance


def test_without_costs_tokens_are_compared_at_our_price(used: Desk, books: Books) -> None:
    books.say(2_999_998)
    books.say(2, tier="batch")
    out = StringIO()

    call_command("reconcile", "--day=2026-07-15", f"--usage-file={books.usage}", "--json", stdout=out)

    (day,) = json.loads(out.getvalue())["days"]
    assert (day["has_costs"], day["difference_micros"], day["is_within_tolerance"]) == (False, -1, True)


def test_a_file_that_is_none_is_said(used: Desk, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("name,age\nx,1\n")
    (tmp_path / "b.csv").write_text(USAGE + "2026-07-15,claude-haiku-4-5,k,w,standard,x,many,0,0,0,0,0,,\n")
    for name, words in (("a.csv", "lacks the columns"), ("b.csv", "no number of tokens"), ("c.csv", "cannot be read")):
        with pytest.raises(CommandError, match=words):
            call_command("reconcile", "--day=2026-07-15", f"--usage-file={tmp_path / name}", stdout=StringIO())
    assert reconciliation.latest() == []


@pytest.fixture
def provider() -> Iterator[str]:
    """An emulator of this test alone: its journal is all that the organization used."""
    command = [sys.executable, "-m", "emulator", "--port", "0"]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "platform")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=env, cwd=ROOT) as process:
        assert process.stdout is not None
        yield process.stdout.readline().decode().split()[-1]
        process.terminate()


def billed(url: str) -> list[dict[str, Any]]:
    """Three calls, one of them streamed from a cached prompt, as the journal has them."""
    long = {"type": "text", "text": "A long text. " * 2000, "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    ask = {"model": "claude-haiku-4-5-20251001", "max_tokens": 50, "messages": [{"role": "user", "content": "Hello"}]}
    for body in (ask, {**ask, "system": [long]}, {**ask, "system": [long]}):
        answer = httpx2.post(
            f"{url}/v1/messages", json=body, headers={"x-api-key": "platform"}, timeout=30, trust_env=False
        )
        assert answer.status_code == 200
    journal = httpx2.get(f"{url}/_emulator/journal", trust_env=False).text
    return [json.loads(line) for line in journal.splitlines()]


def test_the_admin_api_and_the_ledger_agree_to_the_token(desk: Desk, provider: str, settings: Settings) -> None:
    settings.ANTHROPIC_BASE_URL, settings.ANTHROPIC_ADMIN_KEY = provider, "sk-ant-admin-test"
    calls = billed(provider)
    book = pricing.version(1)
    day = datetime.fromisoformat(calls[-1]["at"]).date()

    async def work() -> None:
        for call in calls:
            tokens = Tokens(**{name.removesuffix("_tokens"): count for name, count in call["usage"].items()})
            reservation = await desk.reserve(100_000, model=call["model"])
            await ledger.settle(
                reservation, Closing("settled", tokens, cost_micros=book.cost(call["model"], tokens, on=day))
            )

    asyncio.run(closing_pool(work))

    kept = reconciliation.reconcile(day, now=clock.now())

    assert (kept.source, kept.has_costs, kept.is_within_tolerance) == ("api", True, True)
    assert [line["token_class"] for line in kept.lines] == ["cache_read", "cache_write_1h", "input", "output"]
    assert all(line["ours"] == line["theirs"] > 0 for line in kept.lines)
    assert {name for name, micros in kept.buckets.items() if micros} <= {"price"}
    assert abs(kept.difference_micros) <= 3  # the ledger rounds each call, the provider the day

    settings.ANTHROPIC_ADMIN_KEY = "no such rights"
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("reconcile", f"--day={day}", stdout=StringIO())
