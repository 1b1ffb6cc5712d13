"""The month page and its files in a real browser. Without Chromium it says so and is skipped."""

import asyncio
import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from tests.console.browsing import CHROMIUM, browser
from tests.console.conftest import PASSWORD, member
from tests.factories import outside_of_the_loop
from tests.usage.desk import closing_pool, open_desk, settled
from usage import ledger

__all__ = ["browser"]
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on the PATH: `make test-browser` installs it on Debian"
)
SetClock = Callable[[str], None]


@pytest.fixture
def used(prices: None, set_clock: SetClock, settings: Settings) -> None:
    """Acme used something in July and in June; fiona looks after its money."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    desk = open_desk("acme", timezone="Europe/Berlin")
    member("fiona", tenant=desk.tenant, role="finance")

    async def work() -> None:
        for instant, tokens in (("2026-06-20 12:00:00+00", 500), ("2026-07-15 12:00:00+00", 1234)):
            set_clock(instant)
            await ledger.settle(await desk.reserve(10_000), settled(tokens))

    outside_of_the_loop(lambda: asyncio.run(closing_pool(work)))


def test_finance_reads_a_month_compares_it_and_takes_the_file(
    used: None, browser: Browser, live_server: LiveServer, tmp_path: Path
) -> None:
    complaints: list[str] = []
    context = browser.new_context(viewport={"width": 1280, "height": 900}, base_url=live_server.url)
    page = context.new_page()
    page.on("console", lambda said: complaints.append(said.text) if said.type in {"error", "warning"} else None)
    page.goto("/admin/login/")
    page.get_by_label("Username").fill("fiona")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/admin/")

    page.get_by_role("link", name="Reports").click()
    page.goto("/admin/finance/?month=2026-07")
    assert page.locator(".sg-large").first.inner_text() == "$0.001234"
    assert page.locator("svg .sg-day").count() == 1
    assert page.get_by_text("+147 % against June").count() == 1
    with page.expect_download() as download:
        page.get_by_role("link", name="Events (CSV)").click()
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [row["billed_usd"] for row in rows] == ["0.001234"]
    page.get_by_role("link", name="← June").click()
    page.wait_for_url("**month=2026-06*")
    assert page.locator(".sg-large").first.inner_text() == "$0.000500"
    page.set_viewport_size({"width": 390, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.emulate_media(media="print")
    assert not page.get_by_role("link", name="Events (CSV)").is_visible()
    context.close()
    assert complaints == []
