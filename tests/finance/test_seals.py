"""Sealed days: what is changed in them by whatever means is found, and the row named; a receipt proves it anywhere."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import IntegrityError
from pytest_django import Settings

from tests.finance.books import estimate, settle, tamper, undone, use
from tests.live import ROOT
from tests.usage.desk import Desk, closing_pool, do, events, look, open_desk
from usage import ledger, seals, verification

SetClock = Callable[[str], None]
CHECKER = ROOT / "examples" / "check_receipt.py"


@pytest.fixture
def sealed(prices: None, set_clock: SetClock) -> Desk:
    """Two sealed days: events 1 to 3, then 4 and an estimate."""
    set_clock("2026-07-14 12:00:00+00")
    desk = open_desk()
    use(desk, [10, 20, 30])
    set_clock("2026-07-15 12:00:00+00")
    use(desk, [40])
    estimate(desk, 50)
    set_clock("2026-07-16 06:00:01+00")
    assert seals.seal_due() == 2
    return desk


def found() -> list[tuple[str, str]]:
    return [(one.subject.split(" (")[0], one.fault) for one in verification.verify().findings if one.check == "seals"]


def chain() -> list[dict[str, Any]]:
    return look("SELECT * FROM usage_seal ORDER BY tenant_id, sequence")


def test_each_day_is_a_link_that_names_the_one_before(sealed: Desk) -> None:
    first, second = (json.loads(row["payload"]) for row in chain())

    assert [row["first_number"] for row in chain()] == [1, 4]
    assert (first["day"], first["events"], first["charged_tokens"], first["previous"]) == (
        "2026-07-14",
        3,
        60,
        "0" * 64,
    )
    assert (second["events"], second["estimated"], second["charged_tokens"]) == (2, 1, 90)
    assert second["previous"] == chain()[0]["hash"]
    assert verification.verify().findings == []
    assert seals.seal_due() == 0


def test_a_day_waits_for_its_end_its_hours_and_its_last_event(prices: None, set_clock: SetClock) -> None:
    set_clock("2026-07-14 21:59:00+00")
    desk = open_desk(timezone="Europe/Berlin")
    use(desk, [10])

    set_clock("2026-07-15 03:59:00+00")  # 05:59 in Berlin: six hours after the day's end have not passed
    assert seals.seal_due() == 0
    set_clock("2026-07-15 04:00:00+00")
    assert seals.seal_due() == 1
    assert seals.sealed_to(desk.tenant.pk) == 1


def test_a_day_with_an_open_event_is_not_sealed(prices: None, set_clock: SetClock) -> None:
    set_clock("2026-07-14 12:00:00+00")
    desk = open_desk()
    kept: list[ledger.Reservation] = []

    async def work() -> None:
        kept.append(await desk.reserve(10))

    asyncio.run(closing_pool(work))
    set_clock("2026-07-17 12:00:00+00")

    assert seals.seal_due() == 0
    settle(kept[0], 5)
    assert seals.seal_due() == 1


@pytest.fixture
def tampering() -> dict[str, tuple[str, list[tuple[str, str]]]]:
    """What can be done to rows: the statement, and each row that must be named with its words."""
    return {
        "changed": (
            "UPDATE usage_event SET cost_micros = cost_micros + 1 WHERE number = 2",
            [("2", "changed after it was sealed")],
        ),
        "one microsecond": (
            "UPDATE usage_event SET lease_until = lease_until + interval '1 microsecond' WHERE number = 5",
            [("5", "changed after it was sealed")],
        ),
        "deleted": ("DELETE FROM usage_event WHERE number = 3", [("3", "deleted after it was sealed")]),
        "reordered": (
            (
                "UPDATE usage_event SET number = 9 WHERE number = 1; UPDATE usage_event SET number = 1 WHERE number = 2;"
                " UPDATE usage_event SET number = 2 WHERE number = 9"
            ),
            [("1", "reordered: it was sealed as number 2"), ("2", "reordered: it was sealed as number 1")],
        ),
        "moved up": (
            "DELETE FROM usage_event WHERE number = 2; UPDATE usage_event SET number = 2 WHERE number = 3",
            [("2", "reordered: it was sealed as number 3"), ("3", "reordered: it stands elsewhere now")],
        ),
        "inserted": (
            (
                "CREATE TEMP TABLE forged AS SELECT * FROM usage_event WHERE number = 4; UPDATE forged SET id = gen_random_uuid(),"
                " month = '2026-08-01', day = '2026-08-01'; INSERT INTO usage_event SELECT * FROM forged"
            ),
            [("4", "inserted: the number was sealed for another event")],
        ),
    }


def test_what_was_done_to_a_sealed_row_is_named(sealed: Desk, tampering: Any) -> None:
    for kind, (statement, named) in tampering.items():
        with undone():
            tamper(statement)
            assert found() == [(f"event {sealed.tenant.pk}/{number}", fault) for number, fault in named], kind
    assert found() == []


def test_an_altered_seal_is_named_and_no_row_is_blamed(sealed: Desk) -> None:
    alterations = {
        "digests = sha256('x') || substr(digests, 33)": "its digests are not what was signed",
        "payload = replace(payload, '\"events\":3', '\"events\":2')": "its hash is not its payload's",
        "last_number = 2": "its columns are not what was signed",
        "signature = repeat('0', 128)": "does not fit",
    }
    for change, fault in alterations.items():
        with undone():
            tamper(f"UPDATE usage_seal SET {change} WHERE sequence = 1", table="usage_seal")
            assert any(fault in words for _, words in found()), change
            assert all(subject.startswith("seal ") for subject, _ in found()), change
    with undone():
        tamper("DELETE FROM usage_seal WHERE sequence = 1", table="usage_seal")
        assert "it does not follow seal 0, which ends at event 0: one is missing" in [words for _, words in found()]


def test_who_has_the_database_and_not_the_key_cannot_seal(sealed: Desk, settings: Settings) -> None:
    tamper("DELETE FROM usage_seal", table="usage_seal")
    tamper("UPDATE usage_event SET cost_micros = 0 WHERE number = 1")
    right = settings.SEAL_KEYS
    settings.SEAL_KEYS = ["another key"]
    seals.seal_due()
    settings.SEAL_KEYS = right

    faults = [fault for _, fault in found()]

    assert len(faults) == 2
    assert all("signature" in fault for fault in faults)


def test_keys_are_rotated_and_what_the_old_one_signed_still_holds(
    sealed: Desk, settings: Settings, set_clock: SetClock
) -> None:
    (old,) = seals.public_keys()
    use(sealed, [5])
    settings.SEAL_KEYS, settings.SEAL_RETIRED_KEYS = ["the next key"], [old["public_key"]]
    set_clock("2026-07-17 06:00:01+00")
    assert seals.seal_due() == 1

    assert len({row["key_id"] for row in chain()}) == 2
    assert found() == []


def test_a_sealed_estimate_that_becomes_known_is_an_adjustment(sealed: Desk, set_clock: SetClock) -> None:
    set_clock("2026-07-16 12:00:00+00")
    kept = estimate(sealed, 100)
    set_clock("2026-07-17 06:00:01+00")
    assert seals.seal_due() == 1
    before = events(sealed)

    assert [settle(kept, 30), settle(kept, 30)] == ["estimated", "estimated"]

    (row,) = look("SELECT * FROM usage_adjustment")
    assert (row["kind"], row["event_number"], f"{row['month']}") == ("correction", 6, "2026-07-01")
    assert (row["charged_tokens"], row["cost_micros"], row["billed_micros"]) == (-70, -470, -470)
    assert events(sealed) == before
    assert verification.verify().findings == []


def test_nothing_sealed_can_be_changed_by_the_platform(sealed: Desk) -> None:
    for statement in (
        "UPDATE usage_seal SET sequence = 7",
        "DELETE FROM usage_seal",
        "UPDATE usage_event SET cost_micros = 0 WHERE number = 5",  # an estimate, which could be settled before
    ):
        with pytest.raises(IntegrityError):
            do(statement)


def test_a_sealing_that_stands_still_is_found(sealed: Desk, set_clock: SetClock) -> None:
    use(sealed, [5])
    set_clock("2026-07-20 12:00:00+00")

    assert found() == [
        (f"tenant {sealed.tenant.pk}", "nothing is sealed after event 5, of 2026-07-16, though it could be")
    ]


class TestReceipts:
    def checked(self, receipt: Any, where: Path, *options: str) -> subprocess.CompletedProcess[str]:
        where.write_text(receipt if isinstance(receipt, str) else json.dumps(receipt))
        # Without our paths: it must not need the platform.
        return subprocess.run(
            [sys.executable, "-I", str(CHECKER), str(where), *options], capture_output=True, text=True, check=False
        )

    def exported(self, *options: str) -> str:
        out = StringIO()
        call_command("export_receipt", "--tenant", "acme", *options, stdout=out)
        return out.getvalue()

    def test_it_is_checked_without_the_platform(self, sealed: Desk, tmp_path: Path) -> None:
        (key,) = seals.public_keys()

        whole = self.checked(self.exported(), tmp_path / "r.json", "--key", key["public_key"])
        digests = self.checked(self.exported("--digests"), tmp_path / "r.json")

        said = "acme: 2 seals, 5 events, 150 tokens, 350 micro-dollars: all as it was sealed."
        assert (whole.returncode, whole.stdout.strip()) == (0, said)
        assert (digests.returncode, digests.stdout.strip()) == (0, said)
        assert "claude-haiku" not in self.exported("--digests")

    def test_every_change_to_it_is_found(self, sealed: Desk, tmp_path: Path) -> None:
        true = self.exported()
        (key,) = seals.public_keys()
        file = tmp_path / "r.json"

        def refused(change: Callable[[Any], object]) -> str:
            receipt = json.loads(true)
            change(receipt)
            ended = self.checked(receipt, file, "--key", key["public_key"])
            assert ended.returncode == 1
            return ended.stdout

        def rows(receipt: Any) -> Any:
            return receipt["seals"][0]["rows"]

        assert "event 2: its row is not the one" in refused(
            lambda r: rows(r).__setitem__(1, rows(r)[1].replace("20", "21"))
        )
        assert "3 events were sealed, the receipt holds 2" in refused(lambda r: rows(r).pop())
        assert "event 1: its row" in refused(lambda r: rows(r).reverse())
        assert "its signature does not fit" in refused(
            lambda r: r["seals"][0].update(payload=r["seals"][0]["payload"].replace('"events":3', '"events":4'))
        )
        assert "does not follow" in refused(lambda r: r["seals"].append(r["seals"][0]))
        assert "which you do not trust" in self.checked(true, file, "--key", "00" * 32).stdout
