"""Each guard of finance, switched off, is missed by a named test: so these tests do check what they say."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_django import Settings

from tests.finance import test_closing, test_reconciliation, test_seals
from tests.finance.test_closing import july
from tests.finance.test_reconciliation import Books, used
from tests.finance.test_seals import sealed, tampering
from tests.usage.desk import Desk, do
from tests.usage.test_mutations import mutated
from usage.closing import rerating
from usage.reconciliation import comparing
from usage.seals import checking, signing

SetClock = Callable[[str], None]
__all__ = ["july", "sealed", "tampering", "used"]
MISSED = (AssertionError, pytest.fail.Exception)


def test_without_comparing_rows_with_their_seal(
    sealed: Desk, tampering: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "_DIFFERENT", checking._DIFFERENT.replace("IS DISTINCT FROM", "IS NULL AND NULL ="))
    with pytest.raises(MISSED):
        test_seals.test_what_was_done_to_a_sealed_row_is_named(sealed, tampering)


def test_without_looking_at_signatures(sealed: Desk, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing, "is_signed", lambda *_args, **_options: True)
    with pytest.raises(MISSED):
        test_seals.test_who_has_the_database_and_not_the_key_cannot_seal(sealed, settings)


def test_without_keeping_a_sealed_estimate(sealed: Desk, set_clock: SetClock) -> None:
    do("ALTER TABLE usage_event DISABLE TRIGGER usage_event_sealed_estimate")
    try:
        with pytest.raises(MISSED):
            test_seals.test_a_sealed_estimate_that_becomes_known_is_an_adjustment(sealed, set_clock)
    finally:
        do("ALTER TABLE usage_event ENABLE TRIGGER usage_event_sealed_estimate")


def test_without_booking_in_the_open_month(july: Desk, set_clock: SetClock) -> None:
    with mutated("usage_open_month", "greatest(p_month,", "least(p_month,"), pytest.raises(MISSED):
        test_closing.test_a_late_correction_is_booked_in_the_next_month(july, set_clock)


def test_without_subtracting_what_is_booked(
    july: Desk, tmp_path: Path, set_clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rerating, "_already", lambda *_: {})
    tests = test_closing.TestRerating()
    dearer = test_closing.dearer_prices(july, tmp_path)
    with pytest.raises(MISSED):
        tests.test_the_preview_is_what_is_booked_and_again_books_nothing(dearer)


def test_without_the_boundary(
    used: Desk, tmp_path: Path, set_clock: SetClock, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "_within", lambda *_args, **_options: 0)
    with pytest.raises((*MISSED, KeyError)):
        test_reconciliation.test_each_difference_is_in_its_bucket(used, Books(tmp_path), set_clock, settings)
