"""Writing a skill in a real browser, from its first fault to its rollback, with a worker that runs its cases."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.core.management import call_command
from django.db import connections
from playwright.sync_api import Page

from skills.cases import dispatch
from skills.models import SkillLabel, SkillLabelMove
from tenants.models import AuditEntry, Budget, User
from tests.console.browsing import needs_chromium
from tests.console.test_browser import Open, open_page, people  # noqa: F401 - fixtures

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [
    pytest.mark.django_db(transaction=True),
    needs_chromium,
]
PATIENCE = 30_000  # milliseconds; a worker has to come up and take the run
SCHEMA = '{\n  "type": "object",\n  "properties": {"text": {"type": "string"}},\n  "required": ["text"]\n}'
GOOD = "<text>\n{{ text }}\n</text>\n\nSummarize the text in at most 20 words."


@pytest.fixture
def worker(
    live_environment: dict[str, str], transactional_db: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """A worker of the queue that runs of cases are sent to, on this test's database; no other worker takes from it."""
    del transactional_db
    monkeypatch.setattr(dispatch, "QUEUE", "cases-of-the-browser")
    database = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{connections['default'].settings_dict['NAME']}")
    command = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "config.celery",
        "worker",
        "-Q",
        dispatch.QUEUE,
        "-c",
        "1",
        "-l",
        "warning",
    ]
    paths = os.pathsep.join([str(ROOT / "platform"), str(ROOT)])
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "-n", "cases@test", "-P", "solo"],
            env={**os.environ, **live_environment, "DATABASE_URL": database.geturl(), "PYTHONPATH": paths},
            cwd=ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    yield
    process.kill()
    process.wait()


@pytest.fixture
def prices(transactional_db: None) -> None:
    del transactional_db
    call_command("load_prices", verbosity=0)


def run_the_cases(page: Page, *, version: int, outcome: str) -> None:
    page.get_by_role("link", name="Run cases").click()
    page.get_by_label("Version").select_option(label=f"{version}: fast, by alice")
    page.get_by_role("button", name="Run").click()
    page.get_by_role("heading", name=outcome).wait_for(timeout=PATIENCE)
    page.locator("[data-over]").wait_for(timeout=PATIENCE)


def test_a_skill_is_written_tried_promoted_refused_overridden_and_rolled_back(
    people: dict[str, User],  # noqa: F811 - the fixture
    open_page: Open,  # noqa: F811
    worker: None,
    prices: None,
) -> None:
    Budget.objects.update(limit_tokens=10_000_000)
    page = open_page("alice")

    page.get_by_role("link", name="Skills").first.click()
    page.get_by_role("link", name="New skill").click()
    page.get_by_label("Name").fill("shorten")
    page.get_by_label("Description").fill("Shortens a text.")
    page.get_by_label("Model").fill("fast")
    page.get_by_label("Prompt").first.fill("Summarize the text.")
    page.get_by_label("Template").fill(GOOD)
    page.get_by_label("Input schema").fill(SCHEMA.replace('"object"', '"objet"'))
    page.get_by_text("Line 2, /type: ").wait_for()
    assert page.get_by_label("Input schema").get_attribute("aria-invalid") == "true"
    page.get_by_label("Input schema").fill(SCHEMA)
    page.get_by_text("Nothing is wrong with it.").wait_for()
    page.get_by_role("button", name="Publish").click()
    page.get_by_text("Version 1 is published.").wait_for()

    page.get_by_role("link", name="New case").click()
    page.get_by_label("Name").fill("roses")
    page.get_by_label("Input").fill('{"text": "She grows roses. They are red."}')
    page.get_by_label("Expected").fill('{"contains": "roses"}')
    page.get_by_role("button", name="Save").click()
    run_the_cases(page, version=1, outcome="All 1 cases passed")
    page.get_by_role("link", name="Promote version 1").click()
    page.get_by_role("button", name="Point").click()
    page.get_by_text("production points to version 1.").wait_for()

    page.get_by_role("link", name="Next version").click()
    page.get_by_label("Template").fill(GOOD.replace("20 words", "1 word"))
    page.get_by_role("button", name="Publish").click()
    run_the_cases_after_refusal(page)
    page.get_by_label("Override the release gate").fill("shorter is what we want")
    page.get_by_role("button", name="Point").click()
    page.get_by_text("production points to version 2.").wait_for()
    page.get_by_role("button", name="Roll back production").click()
    page.get_by_text("production points to version 1 again.").wait_for()

    moves = list(SkillLabelMove.objects.order_by("id").values_list("version__number", "is_rollback", "override_reason"))
    assert moves == [(1, False, ""), (2, False, "shorter is what we want"), (1, True, "")]
    assert SkillLabel.objects.get().version.number == 1
    assert AuditEntry.objects.filter(action="skill.cases_run", actor="alice").count() == 2


def run_the_cases_after_refusal(page: Page) -> None:
    page.get_by_role("link", name="Promote version 2").click()
    page.get_by_role("button", name="Point").click()
    page.get_by_text("Version 2 has not been tried on the cases").wait_for()
    page.get_by_role("link", name="Cancel").click()
    run_the_cases(page, version=2, outcome="0 of 1 cases passed")
    page.get_by_text('does not contain "roses".').wait_for()
    page.get_by_role("link", name="Promote version 2").click()
    page.get_by_role("button", name="Point").click()
    page.get_by_text("Version 2 fails 1 of its 1 cases.").wait_for()
