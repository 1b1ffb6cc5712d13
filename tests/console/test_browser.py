"""The console in a real browser: Chromium of the system, driven by Playwright. Without one, it says so and is skipped."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page
from pytest_django.live_server_helper import LiveServer

from tenants.models import ApiKey, User
from tests.console.browsing import needs_chromium
from tests.console.conftest import PASSWORD, member
from tests.factories import make_key, make_tenant

pytestmark = [
    pytest.mark.django_db(transaction=True),
    needs_chromium,
]
Open = Callable[[str], Page]


@pytest.fixture
def people() -> dict[str, User]:
    acme = make_tenant("acme", timezone="Europe/Berlin")
    make_key(acme, name="backend", monthly_token_budget=1000)
    return {"alice": member("alice", tenant=acme, role="owner"), "bob": member("bob", tenant=acme, role="viewer")}


@pytest.fixture
def open_page(browser: Browser, live_server: LiveServer) -> Iterator[Open]:
    """Opens a page signed in as someone; the browser's own complaints fail the test."""
    complaints: list[str] = []
    contexts: list[Any] = []

    def opened(name: str) -> Page:
        context = browser.new_context(
            viewport={"width": 1280, "height": 900},
            base_url=live_server.url,
            permissions=["clipboard-read", "clipboard-write"],
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: complaints.append(said.text) if said.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto("/admin/login/")
        page.get_by_label("Username").fill(name)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/admin/")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def test_a_key_is_issued_copied_rotated_and_revoked(people: dict[str, User], open_page: Open) -> None:
    page = open_page("alice")

    page.get_by_role("link", name="Keys").click()
    page.get_by_role("link", name="Issue a key").click()
    page.get_by_label("Name").fill("from the browser")
    page.get_by_role("button", name="Issue").click()
    secret = page.get_by_label("Key", exact=True).input_value()
    page.get_by_role("button", name="Copy").first.click()
    page.get_by_text("Copied.").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == secret
    assert secret in page.get_by_label("Try it").input_value()

    page.get_by_role("link", name="I have copied it").click()
    assert secret not in page.content()
    page.get_by_role("link", name="Rotate").click()
    page.get_by_role("button", name="Issue the successor").click()
    assert page.get_by_label("Key", exact=True).input_value() != secret
    page.get_by_role("link", name="I have copied it").click()
    page.get_by_role("link", name="Revoke").click()
    page.get_by_label("Reason").fill("tried it")
    page.get_by_role("button", name="Revoke").click()
    page.get_by_text("is revoked. Its calls in flight end").wait_for()

    first, second = ApiKey.objects.filter(name="from the browser").order_by("id")
    assert (second.rotated_from_id, second.revoked_reason) == (first.pk, "tried it")
    assert first.expires_at is not None


def test_ticked_keys_are_revoked_together(people: dict[str, User], open_page: Open) -> None:
    page = open_page("alice")

    page.goto("/admin/tenants/apikey/")
    page.locator("input.action-select").first.check()
    page.locator("select[name=action]").select_option("revoke_selected")
    page.locator("#changelist-actions button[type=submit]").click()
    page.get_by_label("Reason").fill("clean-up")
    page.get_by_role("button", name="Revoke").click()
    page.get_by_text("Revoked: 1 of the keys.").wait_for()

    assert ApiKey.objects.get(name="backend").revoked_reason == "clean-up"


def test_a_viewer_is_offered_nothing_to_change(people: dict[str, User], open_page: Open) -> None:
    page = open_page("bob")

    page.goto("/admin/tenants/apikey/")

    assert page.get_by_role("link", name="Issue a key").count() == 0
    assert page.get_by_role("link", name="Audit log").count() == 0
    page.get_by_role("link", name="backend").click()
    assert page.get_by_role("link", name="Revoke").count() == 0


def test_the_whole_way_to_a_key_needs_no_mouse(people: dict[str, User], open_page: Open) -> None:
    page = open_page("alice")

    page.goto("/admin/tenants/apikey/issue/")
    page.get_by_label("Name").focus()
    page.keyboard.type("by keyboard")
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent.trim()") == "Issue":
            break
    page.keyboard.press("Enter")
    page.get_by_text("by keyboard is ready").wait_for()

    assert ApiKey.objects.filter(name="by keyboard").exists()
