"""Finance's pages and files: who sees them, and that what they show is what is booked."""

import asyncio
import csv
import io
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from pytest_django import Settings

from tenants.models import User
from tests.console.conftest import PASSWORD, member
from tests.finance.test_statement_pdf import text_of as text_drawn
from tests.usage.desk import Desk, closing_pool, open_desk, settled
from usage import closing, ledger, reports
from usage.pricing import Tokens, tariffs

SetClock = Callable[[str], None]
JULY = date(2026, 7, 1)


@pytest.fixture(autouse=True)
def _quick_passwords(settings: Settings) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def used(desk: Desk, *tokens: int) -> None:
    async def work() -> None:
        for count in tokens:
            await ledger.settle(await desk.reserve(10_000), settled(count))

    asyncio.run(closing_pool(work))


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def text_of(answer: Any) -> str:
    return b"".join(answer).decode() if answer.streaming else answer.content.decode()


@pytest.fixture
def books(prices: None, set_clock: SetClock) -> tuple[Desk, Desk]:
    """Acme and Globex with a call each in July."""
    set_clock("2026-07-15 12:00:00+00")
    acme, globex = open_desk("acme", timezone="Europe/Berlin"), open_desk("globex")
    used(acme, 1234, 1)
    used(globex, 777)
    return acme, globex


def test_finance_sees_the_month_to_the_micro_dollar_and_its_files_agree(books: tuple[Desk, Desk]) -> None:
    acme, _ = books
    client = signed_in(member("fiona", tenant=acme.tenant, role="finance"))

    page = text_of(client.get("/admin/finance/?month=2026-07"))
    rows = list(csv.DictReader(io.StringIO(text_of(client.get("/admin/finance/events.csv?month=2026-07")))))
    days = list(csv.DictReader(io.StringIO(text_of(client.get("/admin/finance/focus.csv?month=2026-07")))))
    statement = client.get("/admin/finance/statement.pdf?month=2026-07")
    workbook = b"".join(client.get("/admin/finance/events.xlsx?month=2026-07"))

    assert "$0.001235" in page
    assert "numbers" in page.lower()
    assert [int(row["billed_micros"]) for row in rows] == [1234, 1]
    assert [row["BilledCost"] for row in days] == ["0.001235"]
    assert (days[0]["BillingPeriodStart"], days[0]["ChargePeriodEnd"]) == (
        "2026-06-30T22:00:00Z",
        "2026-07-15T22:00:00Z",
    )
    assert statement.content.startswith(b"%PDF-")
    assert workbook.startswith(b"PK")


def test_a_viewer_sees_no_reports(books: tuple[Desk, Desk]) -> None:
    client = signed_in(member("bob", tenant=books[0].tenant, role="viewer"))

    for address in ("", "events.csv", "events.xlsx", "focus.csv", "statement.pdf"):
        assert client.get(f"/admin/finance/{address}").status_code == 403


@pytest.mark.parametrize("role", ["skillgate_tenant", ""], ids=["both walls", "the first alone"])
def test_nothing_of_another_tenant_is_in_a_page_or_file(
    books: tuple[Desk, Desk], settings: Settings, role: str
) -> None:
    settings.CONSOLE_ROLE = role
    client = signed_in(member("mallory", tenant=books[1].tenant, role="owner"))

    for address in ("", "events.csv", "focus.csv"):
        text = text_of(client.get(f"/admin/finance/{address}?month=2026-07"))
        assert "0.000777" in text
        assert "0.001234" not in text
        assert books[0].key.public_id not in text
        assert "acme" not in text.lower()


def test_a_closed_month_of_another_tenant_is_nowhere(books: tuple[Desk, Desk], set_clock: SetClock) -> None:
    acme, globex = books
    set_clock("2026-08-10 12:00:00+00")
    theirs, own = closing.close(acme.tenant, month=JULY), closing.close(globex.tenant, month=JULY)
    secrets = ["acme", theirs.sha256, acme.key.public_id.lower(), "0.001235"]
    client = signed_in(member("mallory", tenant=globex.tenant, role="owner"))

    pages = {
        address: text_of(client.get(f"/admin/{address}?month=2026-07"))
        for address in ("months/", "months/receipt.json", "finance/", "finance/events.csv", "finance/focus.csv")
    }
    statement = text_drawn(client.get("/admin/finance/statement.pdf?month=2026-07").content)
    again = client.post("/admin/months/close/?month=2026-07", {"tenant": acme.tenant.pk})

    for address, text in {**pages, "the statement": statement}.items():
        assert not [word for word in secrets if word in text.lower()], address
    assert own.sha256 in statement
    assert again.status_code == 200
    assert [closing.statement_of(desk.tenant.pk, JULY) for desk in books] == [theirs, own]


@pytest.mark.parametrize(
    "month", ["2026-13", "x", "2026-7", "1999-01", "2026-07-01", "\uff12\uff10\uff12\uff16-\uff10\uff17"]
)
def test_a_month_that_is_none_is_refused(books: tuple[Desk, Desk], month: str) -> None:
    client = signed_in(member("fiona", tenant=books[0].tenant, role="finance"))

    for address in ("", "events.csv", "statement.pdf"):
        assert client.get(f"/admin/finance/{address}", {"month": month}).status_code == 400


def test_operators_see_all_tenants_and_each_ones_month(books: tuple[Desk, Desk]) -> None:
    client = signed_in(User.objects.create_superuser("olga", "olga@example.com", PASSWORD))

    everyone = text_of(client.get("/ops/finance/?month=2026-07"))
    one = text_of(client.get(f"/ops/finance/{books[0].tenant.pk}/?month=2026-07"))

    assert "$0.002012" in everyone
    assert "Acme" in everyone
    assert "$0.001235" in one
    assert client.get("/ops/finance/999999/").status_code == 404
    assert client.get(f"/ops/finance/{books[0].tenant.pk}/statement.pdf").content.startswith(b"%PDF-")


TARIFF = """
effective_from = 2026-07-01
source = "Contract 7"
markup_percent = "25"
"""


def test_a_tariff_is_previewed_and_then_loaded(
    books: tuple[Desk, Desk], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    acme, _ = books
    client = signed_in(User.objects.create_superuser("olga", "olga@example.com", PASSWORD))
    monkeypatch.setattr("kit.clock.time.time", lambda: 1785542400.0)  # 1 August 2026
    address = f"/ops/finance/{acme.tenant.pk}/tariff/"
    wanted = TARIFF.replace("07-01", "08-01")

    shown = text_of(client.post(address, {"text": wanted, "preview": "1"}))
    assert "$0.001544" in shown  # 1234 times 1.25 = 1542.5 and 1 times 1.25 = 1.25: 1543 + 1
    assert "+$0.000309" in shown
    assert tariffs.of_tenant(acme.tenant.pk) == []

    file = tmp_path / "tariff.toml"
    file.write_text(wanted)
    call_command("load_tariff", str(file), tenant="acme", preview=True, stdout=(told := io.StringIO()))
    assert "0.001544" in told.getvalue()
    assert tariffs.of_tenant(acme.tenant.pk) == []

    refused = text_of(client.post(address, {"text": TARIFF, "load": "1"}))
    assert "cannot begin before 2026-08-01" in refused
    assert client.post(address, {"text": wanted, "load": "1"}).status_code == 302
    (made,) = tariffs.of_tenant(acme.tenant.pk)
    assert (made.markup_basis_points, made.created_by) == (2500, "olga")
    assert reports.month(acme.tenant.pk, JULY).total.billed_micros == 1235


def test_a_price_file_is_previewed_for_every_tenant(
    books: tuple[Desk, Desk], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from usage import pricing

    client = signed_in(User.objects.create_superuser("olga", "olga@example.com", PASSWORD))
    monkeypatch.setattr("kit.clock.time.time", lambda: 1785542400.0)
    shipped = pricing.SHIPPED.read_text()
    dearer = shipped.replace('input = "1"\n', 'input = "1.5"\n', 1)
    assert dearer != shipped

    same = text_of(client.post("/ops/prices/", {"text": shipped, "preview": "1"}))
    shown = text_of(client.post("/ops/prices/", {"text": dearer, "preview": "1"}))

    assert same.count("$0.000000") == 2  # the difference of each
    assert "$0.001853" in shown  # 1851 + 2: 1.5 is rounded up
    assert "$0.001166" in shown
    file = tmp_path / "dearer.toml"
    file.write_text(dearer)
    call_command("load_prices", str(file), preview=True, stdout=(told := io.StringIO()))
    assert "0.001853" in told.getvalue()
    assert len(pricing.versions()) == 1
    assert client.post("/ops/prices/", {"text": dearer, "load": "1"}).status_code == 302
    assert len(pricing.versions()) == 2


def test_a_call_with_all_classes_is_charged_by_own_prices_in_a_batch_too(prices: None, set_clock: SetClock) -> None:
    set_clock("2026-07-15 12:00:00+00")
    desk = open_desk()
    own = dict.fromkeys(("input", "output", "cache_write_5m", "cache_write_1h", "cache_read"), "2")
    terms = tariffs.terms(
        effective_from=date(2026, 7, 15),
        source="Contract",
        markup_percent="0",
        prices=[{"model": "claude-haiku-4-5", **own}],
    )
    from datetime import UTC, datetime

    tariffs.load(desk.tenant, terms, now=datetime(2026, 7, 15, tzinfo=UTC))

    async def work() -> None:
        tokens = Tokens(input=1, output=2, cache_write_5m=3, cache_write_1h=4, cache_read=5)
        for tier, cost in (("standard", 99), ("batch", 50)):
            closing = ledger.Closing("settled", tokens, cost_micros=cost, service_tier=tier)
            await ledger.settle(await desk.reserve(100), closing)

    asyncio.run(closing_pool(work))
    total = reports.month(desk.tenant.pk, JULY).total

    assert (total.cost_micros, total.billed_micros) == (99 + 50, 2 * 15 + 2 * 15)
