"""The whole way of a key in a real browser on the running platform: issued, called with, seen, rotated, revoked, tried."""

import re
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from playwright.sync_api import Browser, Page, expect

from tenants.models import ApiKey, User
from tests.console.browsing import needs_chromium
from tests.console.conftest import PASSWORD, member
from tests.live import Live, eventually

pytestmark = needs_chromium
_MILLISECONDS = 20_000


@pytest.fixture
def alice(live: Live) -> User:
    """An owner whose password the running server can check, quickly."""

    def work() -> User:
        user = member("alice", tenant=live.tenant, role="owner")
        user.password = PBKDF2PasswordHasher().encode(PASSWORD, "salt-of-a-test", iterations=1000)
        user.save()
        return user

    return live.do(work)


@pytest.fixture
def page(browser: Browser, live: Live, alice: User) -> Iterator[Page]:
    """The overview, just signed in; what the browser complains of fails the test."""
    complaints: list[str] = []
    context = browser.new_context(base_url=live.base_url, viewport={"width": 1280, "height": 900})
    context.set_default_timeout(_MILLISECONDS)
    page = context.new_page()
    page.on("console", lambda said: complaints.append(said.text) if said.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    sign_in(page)
    yield page
    context.close()
    assert complaints == []


def sign_in(page: Page) -> None:
    page.goto("/admin/login/")
    page.get_by_label("Username").fill("alice")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/admin/")


def call(live: Live, secret: str) -> httpx2.Response:
    body = {"input": {"text": "A short story. [[emulator:words:12]]"}}
    return httpx2.post(f"{live.base_url}/v1/skills/summarize", json=body, headers={"X-API-Key": secret}, timeout=20)


def calls_today(page: Page) -> str:
    page.goto("/admin/")
    tile = page.locator(".sg-tile", has=page.get_by_role("heading", name="Calls", exact=True))
    return tile.locator("dd").first.inner_text()


def shown_secret(page: Page) -> str:
    return page.get_by_label("Key", exact=True).input_value()


def test_a_key_is_issued_used_seen_rotated_and_revoked(live: Live, page: Page) -> None:
    assert page.get_by_text("No calls this month").is_visible()

    page.get_by_role("link", name="Issue a key").click()
    page.get_by_label("Name").fill("from the browser")
    page.get_by_role("button", name="Issue").click()
    first = shown_secret(page)
    answered = call(live, first)
    assert answered.status_code == 200
    (booked,) = live.closed_events()

    assert eventually(lambda: calls_today(page) == "1", within=20)
    row = page.get_by_role("region", name="Key").get_by_role("row", name=re.compile("from the browser"))
    expect(row).to_contain_text(str(booked["charged_tokens"]))

    page.get_by_role("link", name="Keys").first.click()
    page.get_by_role("link", name="from the browser").click()
    page.get_by_role("link", name="Rotate").click()
    page.get_by_role("button", name="Issue the successor").click()
    second = shown_secret(page)
    assert [call(live, secret).status_code for secret in (first, second)] == [200, 200]

    page.get_by_role("link", name="I have copied it").click()
    page.get_by_role("link", name="Revoke").click()
    page.get_by_label("Reason").fill("tried it")
    page.get_by_role("button", name="Revoke").click()
    page.get_by_text("is revoked. Its calls in flight end").wait_for()
    assert eventually(lambda: call(live, second).status_code == 401)
    assert live.do(lambda: ApiKey.objects.filter(revoked_reason="tried it").count()) == 1


def test_the_playground_streams_stops_and_says_what_is_wrong(live: Live, page: Page) -> None:
    page.get_by_role("link", name="Try a skill").click()
    answer, state = (
        page.locator("[data-answer]"),
        page.get_by_role("status").filter(has_text=re.compile("run|Run|Done|Stop|caller")),
    )
    text = page.get_by_label("Text")

    text.fill("A short story. [[emulator:words:30]]")
    page.get_by_role("button", name="Run").click()
    expect(state).to_have_text(re.compile("Done"))
    (booked,) = live.closed_events()
    assert len(answer.inner_text().split()) > 5
    expect(page.locator('[data-fact="tokens"]')).to_contain_text(str(booked["charged_tokens"]))
    assert booked["entry_point"] == "playground"
    assert "/v1/skills/summarize/stream" in page.get_by_label("The same call with curl").input_value()

    text.fill("A long story. [[emulator:words:400]][[emulator:chunk_ms:150]]")
    page.get_by_role("button", name="Run").click()
    expect(answer).not_to_be_empty()
    page.get_by_role("button", name="Stop").click()
    expect(state).to_have_text(re.compile("Stopped"))
    assert eventually(lambda: live.outcomes()[-1:] == ["client_gone"], within=10)

    page.get_by_label("Language").fill("!?")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("alert")).to_contain_text("400 invalid_request_error")

    page.get_by_label("Skill", exact=True).select_option("classify")
    expect(page.get_by_label("Labels")).to_be_visible()


def test_axe_finds_no_serious_fault_in_an_answer(browser: Browser, live: Live, alice: User) -> None:
    context = browser.new_context(base_url=live.base_url, bypass_csp=True, color_scheme="dark")  # axe is injected
    page = context.new_page()
    sign_in(page)
    page.goto("/admin/playground/")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_text(re.compile("^Done"))).to_be_visible(timeout=_MILLISECONDS)

    found: Any = Axe().run(page).response

    context.close()
    serious = [fault["id"] for fault in found["violations"] if fault["impact"] in {"serious", "critical"}]
    assert serious == []
    assert len(found["passes"]) > 10
