"""What this process remembers of good keys, and when it does not."""

from datetime import UTC, datetime

from tenants.keys import cache
from tests.tenants.callers import a_caller

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def test_a_lookup_that_was_under_way_while_a_key_was_revoked_is_not_kept() -> None:
    known = cache.Known(a_caller(), networks=(), looked_up_at=NOW)
    before = cache.generation()

    cache.forget(known.caller.key_id)
    cache.keep(b"fingerprint", known, generation=before)
    assert cache.find(b"fingerprint", now=NOW) is None

    cache.keep(b"fingerprint", known, generation=cache.generation())
    assert cache.find(b"fingerprint", now=NOW) is known


def test_forgetting_a_tenant_forgets_its_keys_and_no_others() -> None:
    mine = cache.Known(a_caller(tenant_id=1), networks=(), looked_up_at=NOW)
    theirs = cache.Known(a_caller(tenant_id=2), networks=(), looked_up_at=NOW)
    cache.keep(b"mine", mine, generation=cache.generation())
    cache.keep(b"theirs", theirs, generation=cache.generation())

    cache.forget_tenant(1)

    assert cache.find(b"mine", now=NOW) is None
    assert cache.find(b"theirs", now=NOW) is theirs


def test_a_clock_that_went_back_forgets() -> None:
    cache.keep(b"fingerprint", cache.Known(a_caller(), networks=(), looked_up_at=NOW), generation=cache.generation())

    assert cache.find(b"fingerprint", now=NOW.replace(year=2025)) is None
