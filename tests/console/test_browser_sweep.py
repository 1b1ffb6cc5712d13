"""Every page of both sites, as its addresses say, looked at once in Chromium: by axe, in both widths, by the keyboard."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from playwright.sync_api import Browser, Page
from pytest_django.live_server_helper import LiveServer

from console.sites import ops_site
from kit import clock
from skills import catalog
from skills.models import Skill
from tests.console import test_isolation as matrix
from tests.console.browsing import needs_chromium
from tests.console.conftest import Cast, content
from usage import alerts, pricing, reconciliation, tasks
from usage.reconciliation.models import Reconciliation

pytestmark = [pytest.mark.django_db(transaction=True), needs_chromium]
WIDE, NARROW = 1280, 390
# Files, parts of pages, what takes something to be posted, and patterns that are filled in otherwise.
LEFT_OUT = re.compile(
    r"\.(csv|xlsx|pdf|json)$|[<(]|/(export|progress|check|close|jsi18n|login|logout|search)/|playground/run/"
)
AXE = Axe()
# A rule of minor or moderate impact never finds what is asked for here, and some of them look at every element.
LOOK = """
axe.run({
  resultTypes: ['violations'],
  rules: Object.fromEntries(
    axe._audit.rules.filter(rule => ['minor', 'moderate'].includes(rule.impact)).map(rule => [rule.id, {enabled: false}])),
})
"""
# What can be worked with a mouse and not be reached by Tab. Unfold's menu buttons open what stands on the page as well.
UNREACHABLE = """
[...document.querySelectorAll('.sg-page a, .sg-page button, .sg-page input, .sg-page select, .sg-page textarea, #content form :is(a, button, input, select, textarea)')]
  .filter(one => one.type !== 'hidden' && one.getClientRects().length && !one.disabled)
  .filter(one => one.tabIndex < 0 || (one.tagName === 'A' && !one.hasAttribute('href')))
  .map(one => one.outerHTML.slice(0, 120))
"""


def tenant_pages(cast: Cast) -> Iterator[str]:
    rows = matrix.rows_of(cast, "acme")
    skill = Skill.objects.get(pk=rows["skill"])
    catalog.publish(skill, content=content(system="Be brief.", template="{{ text }}", max_tokens=150), created_by="bob")
    yield f"/admin/skills/{skill.pk}/diff/"  # has colours of its own, so it comes in both schemes
    for address, (_, row) in matrix.SITE.items():
        if not LEFT_OUT.search(address.replace("<int:pk>", "1").replace("<uuid:pk>", "1")):
            yield matrix.fill(address, rows.get(row, 0))
    yield "/admin/second-factor/"
    yield "/admin/password_change/"


def compared() -> Reconciliation:
    """A day that was compared with the provider's books."""
    names = ("model", "tier", "token_class", "ours", "theirs", "buckets")
    line = dict(zip(names, ("claude-haiku-4-5", "standard", "input", 3, 3, {}), strict=True))
    return Reconciliation.objects.create(
        day=clock.now().date(),
        source="api",
        has_costs=True,
        ours_micros=30,
        theirs_micros=31,
        buckets=dict.fromkeys(reconciliation.BUCKETS, 0) | {"price": 1},
        lines=[line],
        is_within_tolerance=True,
    )


def operator_pages(cast: Cast) -> Iterator[str]:
    matrix.rows_of(cast, "acme")
    days = compared().pk
    tasks.verify_ledger()
    for address in sorted(matrix.addresses("ops/")):
        if "<path:object_id>" not in address:
            named = days if address.startswith("reconciliation/") else cast.acme.pk
            filled = f"/ops/{address.replace('<int:pk>', str(named))}"
            if not LEFT_OUT.search(filled):
                yield filled
    for model in ops_site.get_model_admins():
        row = model.model._default_manager.order_by("pk").first()
        if row is not None:
            yield f"/ops/{model.opts.app_label}/{model.opts.model_name}/{row.pk}/change/"


@pytest.mark.parametrize(("name", "walk"), [("alice", tenant_pages), ("olga", operator_pages)])
def test_no_page_has_a_serious_fault_or_is_wider_than_its_window(
    cast: Cast, browser: Browser, live_server: LiveServer, name: str, walk: Any
) -> None:
    pricing.load(pricing.SHIPPED, now=clock.now())
    alerts.raise_alert("spend", once="x", tenant_id=cast.acme.pk, title="A dear day", text="Look.")
    client = cast.client(name)
    addresses = list(walk(cast))

    faults: dict[tuple[str, str], list[str]] = {}
    for scheme in ("light", "dark"):
        context = browser.new_context(base_url=live_server.url, color_scheme=scheme, bypass_csp=True)  # axe is injected
        session = client.cookies[settings.SESSION_COOKIE_NAME].value
        context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": session, "url": live_server.url}])
        page = context.new_page()
        for address in addresses[scheme == "dark" :: 2]:  # each once; the style is one for all
            faults[scheme, address] = faults_of(page, address)
        context.close()

    assert {where: found for where, found in faults.items() if found} == {}


def faults_of(page: Page, address: str) -> list[str]:
    """What is wrong with a page, for whom it is read aloud, on a telephone, and without a mouse."""
    page.set_viewport_size({"width": WIDE, "height": 900})
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    answer = page.goto(address)
    assert answer is not None
    if answer.status == 403 and address.endswith("/add/"):
        return []  # of what nobody adds by hand
    assert answer.status == 200, address
    page.evaluate(AXE.axe_script)
    found = page.evaluate(LOOK)
    assert len(found["passes"]) > 10, f"axe looked at next to nothing of {address}"
    picture(page, address)
    said += [
        f"{fault['id']}: {fault['nodes'][0]['html'][:200]}"
        for fault in found["violations"]
        if fault["impact"] in {"serious", "critical"}
    ]
    said += [f"out of reach: {one}" for one in page.evaluate(UNREACHABLE)]
    for width in (WIDE, NARROW):
        page.set_viewport_size({"width": width, "height": 900})
        if page.evaluate("document.documentElement.scrollWidth") > width:
            said.append(f"wider than {width}")
    return said


def picture(page: Page, address: str) -> None:
    """Kept for someone to look at, where SKILLGATE_PICTURES names a folder."""
    if folder := os.environ.get("SKILLGATE_PICTURES"):
        page.screenshot(path=Path(folder) / f"{address.strip('/').replace('/', '-')}.png", full_page=True)
