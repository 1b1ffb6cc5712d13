"""Every test here sees committed rows and the prices that are shipped."""

from collections.abc import Iterator

import pytest

from kit import clock
from tests.usage.desk import Desk, do, open_desk
from usage import pricing
from usage.ledger import lanes


@pytest.fixture
def prices(transactional_db: None) -> None:
    """The shipped prices, committed as version 1, which is what tests book by."""
    do("ALTER SEQUENCE usage_pricebook_id_seq RESTART")
    pricing.load(pricing.SHIPPED, now=clock.now())
    pricing.forget()


@pytest.fixture
def desk(prices: None) -> Desk:
    """A tenant with one key and large budgets, at whose ledger the test works."""
    return open_desk()


@pytest.fixture
def set_clock(transactional_db: None) -> Iterator["SetClock"]:
    """The database's clock, to be set to any instant; the real one is put back at the end."""
    setting = SetClock()
    yield setting
    setting.restore()


@pytest.fixture(autouse=True)
def _usual_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "MOST_ITEMS", lanes.MOST_ITEMS)


class SetClock:
    """`set_clock("2026-03-29 00:59:59+00")` stops the ledger's clock at an instant."""

    def __call__(self, instant: str) -> None:
        self._define(f"SELECT timestamptz '{instant}'")
        do("SELECT usage_make_partitions((timestamptz %s - interval '1 day')::date, 3)", [instant])

    def restore(self) -> None:
        self._define("SELECT clock_timestamp()")

    def _define(self, body: str) -> None:
        do(f"CREATE OR REPLACE FUNCTION usage_clock() RETURNS timestamptz LANGUAGE sql VOLATILE AS $${body}$$")
