"""From a header to a caller: one answer for every refusal, one statement at most."""

import asyncio
import logging
import os
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from django.db import connection
from pytest_django import Settings

from kit import clock, control, pg
from kit.errors import AuthenticationFailed, RateLimited, SkillgateError, Unavailable
from tenants import audit, keys, provider_keys, tenants
from tenants.configuration import Configuration, configure
from tenants.keys import authentication, form
from tests.factories import make_key, make_tenant, outside_of_the_loop
from tests.tenants.valkey import Valkey
from tests.tenants.wire import counted, postgres_host

pytestmark = pytest.mark.django_db(transaction=True)
HOME = "192.0.2.7"


async def connected() -> None:
    for _ in range(100):
        if control.listener().connected:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the control channel was never heard")


async def authenticate(raw: str | None, **options: Any) -> keys.Caller:
    return await keys.authenticate(raw, **{"address": HOME, "now": clock.now(), **options})


async def refusal_of(raw: str | None, **options: Any) -> SkillgateError:
    with pytest.raises(SkillgateError) as raised:
        await authenticate(raw, **options)
    return raised.value


async def test_a_good_key_is_a_caller_with_its_scopes_and_limits() -> None:
    tenant = make_tenant(timezone="Europe/Berlin")
    issued = make_key(tenant, allowed_skills=["summarize"], allowed_verbs=["run"], requests_per_minute=7)

    caller = await authenticate(issued.secret)

    assert (caller.key_id, caller.family_id, caller.tenant_id) == (issued.key.pk, issued.key.pk, tenant.pk)
    assert (caller.tenant_slug, caller.tenant_timezone) == ("acme", "Europe/Berlin")
    assert (caller.requests_per_minute, caller.environment) == (7, "live")
    assert caller.may_run("summarize")
    assert not caller.may_run("translate")
    assert caller.may("run")
    assert not caller.may("read")
    assert caller.display == issued.key.display


async def test_every_refusal_is_the_same_answer_and_the_audit_log_knows_the_reason() -> None:
    tenant, other = make_tenant(), make_tenant("globex")
    now = clock.now()
    revoked, expired, suspended = (
        make_key(tenant),
        make_key(tenant, expires_at=now + timedelta(hours=1)),
        make_key(other),
    )
    fenced = make_key(tenant, allowed_networks=["198.51.100.0/24"])
    outside_of_the_loop(lambda: keys.revoke(revoked.key, reason="leaked", now=now))
    outside_of_the_loop(lambda: tenants.suspend(other, reason="unpaid", now=now))
    tried = {
        "absent": (None, now),
        "malformed": ("sg_live_nonsense", now),
        "unknown": (form.generate("live"), now),
        "revoked": (revoked.secret, now),
        "expired": (expired.secret, now + timedelta(hours=1)),
        "suspended_tenant": (suspended.secret, now),
        "network": (fenced.secret, now),
    }

    refusals = [await refusal_of(raw, now=when) for raw, when in tried.values()]
    await audit.flush()

    assert {type(refusal) for refusal in refusals} == {AuthenticationFailed}
    assert len({(str(refusal.envelope(request_id="r")), str(refusal.headers)) for refusal in refusals}) == 1
    written = await pg.fetch_all("SELECT * FROM tenants_auditentry WHERE action = 'key.refused'")
    entries = {entry["details"]["reason"]: entry for entry in written}
    assert sorted(entry["details"]["reason"] for entry in written) == sorted(tried)
    assert {entry["address"] for entry in written} == {HOME}
    known = ("revoked", "expired", "suspended_tenant", "network")
    assert [entries[reason]["tenant_id"] for reason in known] == [tenant.pk, tenant.pk, other.pk, tenant.pk]
    assert entries["revoked"]["actor"] == revoked.key.public_id
    assert entries["malformed"]["details"]["display"] == ""


async def test_equal_refusals_become_one_entry_with_a_count() -> None:
    for _ in range(20):
        await refusal_of("nonsense")

    await audit.flush()

    entries = await pg.fetch_all("SELECT details FROM tenants_auditentry")
    assert [entry["details"]["count"] for entry in entries] == [20]


async def test_what_is_gathered_is_bounded_and_nothing_goes_uncounted() -> None:
    for number in range(1500):
        audit.gather(audit.RefusedKey("malformed", address=f"10.0.{number // 256}.{number % 256}"), now=clock.now())

    await audit.flush()

    counts = await pg.fetch_all("SELECT (details->>'count')::int AS count FROM tenants_auditentry")
    assert len(counts) == 1001
    assert sum(row["count"] for row in counts) == 1500


async def test_one_statement_for_each_authentication_and_none_for_a_key_just_seen() -> None:
    issued = make_key(make_tenant())
    seen = []
    await connected()  # connecting forgets what may have been revoked meanwhile

    async with counted() as relay:
        for raw, fresh in [
            (issued.secret, False),
            (issued.secret, False),
            (issued.secret, True),
            (form.generate("live"), False),
        ]:
            relay.statements = 0
            await asyncio.gather(authenticate(raw, fresh=fresh), return_exceptions=True)
            seen.append(relay.statements)

    assert seen == [1, 0, 1, 1]


async def test_a_malformed_key_never_touches_postgres() -> None:
    await pg.close()
    with tempfile.TemporaryDirectory() as nowhere, postgres_host(nowhere):
        malformed = [await refusal_of(raw) for raw in (None, "", "x", "sg_live_" + "a" * 46, "ä" * 54)]
        well_formed = await refusal_of(form.generate("live"))
        await pg.close()

    assert {type(refusal) for refusal in malformed} == {AuthenticationFailed}
    assert isinstance(well_formed, Unavailable)


async def test_expiry_and_network_are_checked_on_each_call_of_a_cached_key() -> None:
    now = clock.now()
    issued = make_key(
        make_tenant(), allowed_networks=["192.0.2.0/24", "2001:db8::/32"], expires_at=now + timedelta(seconds=2)
    )
    await connected()
    await authenticate(issued.secret, now=now)

    async with counted() as relay:
        assert (await authenticate(issued.secret, now=now, address="2001:db8::1")).key_id == issued.key.pk
        assert (await authenticate(issued.secret, now=now, address="::ffff:192.0.2.9")).key_id == issued.key.pk
        refusals = [
            await refusal_of(issued.secret, now=now, address="203.0.113.1"),
            await refusal_of(issued.secret, now=now, address="not an address"),
            await refusal_of(issued.secret, now=now + timedelta(seconds=2)),
        ]
        assert relay.statements == 0

    assert {type(refusal) for refusal in refusals} == {AuthenticationFailed}


async def test_a_key_is_remembered_for_less_than_five_seconds() -> None:
    now = clock.now()
    issued = make_key(make_tenant())
    await connected()
    await authenticate(issued.secret, now=now)
    await pg.execute("UPDATE tenants_apikey SET revoked_at = now()")  # behind the back of the control channel

    assert (await authenticate(issued.secret, now=now + timedelta(seconds=4.9))).key_id == issued.key.pk
    assert isinstance(await refusal_of(issued.secret, now=now + timedelta(seconds=5)), AuthenticationFailed)


async def test_a_crowd_with_a_key_that_nobody_knew_yet_looks_once() -> None:
    issued = make_key(make_tenant())
    await connected()

    async with counted() as relay:
        callers = await asyncio.gather(*(authenticate(issued.secret) for _ in range(50)))
        assert relay.statements == 1

    assert {caller.key_id for caller in callers} == {issued.key.pk}


async def test_who_comes_after_a_change_was_heard_of_shares_no_look_from_before() -> None:
    issued = make_key(make_tenant())
    await connected()

    async with counted() as relay:
        early = asyncio.create_task(authenticate(issued.secret))
        await asyncio.sleep(0)
        keys.forget(issued.key.pk)
        await asyncio.gather(early, authenticate(issued.secret))
        assert relay.statements == 2


async def test_forget_and_fresh_look_again() -> None:
    issued = make_key(make_tenant())
    await connected()
    await authenticate(issued.secret)
    await pg.execute("UPDATE tenants_apikey SET revoked_at = now()")

    assert isinstance(await refusal_of(issued.secret, fresh=True), AuthenticationFailed)
    assert (await authenticate(issued.secret)).key_id == issued.key.pk
    keys.forget(issued.key.pk)
    assert isinstance(await refusal_of(issued.secret), AuthenticationFailed)


async def test_revoking_reaches_this_process_within_a_second_and_resuming_too() -> None:
    tenant = make_tenant()
    issued, other = make_key(tenant), make_key(tenant)
    await connected()
    await authenticate(issued.secret)

    outside_of_the_loop(lambda: keys.revoke(issued.key, reason="leaked", now=clock.now()))
    await asyncio.sleep(0.2)
    assert isinstance(await refusal_of(issued.secret), AuthenticationFailed)

    await authenticate(other.secret)
    outside_of_the_loop(lambda: tenants.suspend(tenant, reason="unpaid", now=clock.now()))
    await asyncio.sleep(0.2)
    assert isinstance(await refusal_of(other.secret), AuthenticationFailed)
    outside_of_the_loop(lambda: tenants.resume(tenant, now=clock.now()))
    assert (await authenticate(other.secret)).key_id == other.key.pk


async def test_what_a_tenant_decides_reaches_the_callers_of_its_keys_at_once() -> None:
    tenant = make_tenant()
    issued = make_key(tenant, allowed_models=["claude-haiku-4-5", "claude-opus-5"])
    await connected()
    before = await authenticate(issued.secret)
    assert (before.allows_fallback, before.logs_prompts, before.has_provider_key) == (True, False, False)
    assert before.may_use("claude-opus-5")
    assert not before.may_use("claude-sonnet-5")
    wanted = Configuration(
        name="Acme", timezone="UTC", logs_prompts=True, allows_fallback=False, allowed_models=["claude-haiku-4-5"]
    )

    outside_of_the_loop(lambda: configure(tenant, wanted=wanted, actor="alice"))
    outside_of_the_loop(
        lambda: provider_keys.store(tenant, secret="sk-ant-" + "a" * 40, now=clock.now(), actor="alice")
    )

    for _ in range(40):
        if (await authenticate(issued.secret)).has_provider_key:
            break
        await asyncio.sleep(0.02)
    caller = await authenticate(issued.secret)
    assert (caller.allows_fallback, caller.logs_prompts, caller.has_provider_key) == (False, True, True)
    assert caller.may_use("claude-haiku-4-5-20251001")
    assert not caller.may_use("claude-opus-5")
    assert caller.models == {"claude-haiku-4-5"}


OTHER_PROCESS = """
import asyncio, sys
import django
django.setup()
from kit import clock, control
from kit.errors import AuthenticationFailed
from tenants import background, keys
from tenants.keys import cache

async def main():
    await background.start()
    while not control.listener().connected:
        await asyncio.sleep(0.01)
    caller = await keys.authenticate(sys.stdin.readline().strip(), address="127.0.0.1", now=clock.now())
    print("admitted", flush=True)
    sys.stdin.readline()
    await asyncio.sleep(0.9)
    print("remembered" if cache._known else "forgotten", flush=True)
    await background.stop()

asyncio.run(main())
"""


@pytest.mark.parametrize("does_revoke", [True, False])
def test_another_process_forgets_a_revoked_key_within_a_second(valkey: Valkey, does_revoke: bool) -> None:
    issued = make_key(make_tenant())
    database = connection.settings_dict
    url = f"postgres://{database['USER']}@{quote(database['HOST'], safe='')}/{database['NAME']}"
    environment = {
        **os.environ,
        "DATABASE_URL": url,
        "REDIS_URL": valkey.url,
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }
    environment["PYTHONPATH"] = os.pathsep.join([".", "platform"])

    with subprocess.Popen(
        [sys.executable, "-c", OTHER_PROCESS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(issued.secret + "\n")
        process.stdin.flush()
        assert process.stdout.readline() == "admitted\n"
        if does_revoke:
            keys.revoke(issued.key, reason="leaked", now=clock.now())
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == ("forgotten\n" if does_revoke else "remembered\n")
        assert process.wait(timeout=10) == 0


async def test_last_use_is_written_later_and_at_most_once_a_minute() -> None:
    issued = make_key(make_tenant())
    start = clock.now()
    written = []

    for seconds in (0, 30, 61):
        await authenticate(issued.secret, now=start + timedelta(seconds=seconds))
        await authentication.write_last_uses()
        row = await pg.fetch_one("SELECT last_used_at FROM tenants_apikey")
        assert row is not None
        written.append(row["last_used_at"])

    assert written == [start, start, start + timedelta(seconds=61)]


async def test_a_key_under_the_previous_pepper_works_and_is_rehashed(settings: Settings) -> None:
    settings.KEY_PEPPERS = {"0": "old"}
    issued = make_key(make_tenant())
    settings.KEY_PEPPERS = {"1": "new", "0": "old"}

    assert (await authenticate(issued.secret)).key_id == issued.key.pk
    await authentication.rehash()

    settings.KEY_PEPPERS = {"1": "new"}
    assert (await authenticate(issued.secret, fresh=True)).key_id == issued.key.pk
    settings.KEY_PEPPERS = {"0": "old"}
    assert isinstance(await refusal_of(issued.secret, fresh=True), AuthenticationFailed)


async def test_an_address_that_fails_too_often_is_told_to_wait_but_a_good_key_from_it_passes() -> None:
    issued = make_key(make_tenant())

    refusals = [await refusal_of("nonsense") for _ in range(61)]
    elsewhere = await refusal_of("nonsense", address="192.0.2.8")

    kinds = [type(refusal) for refusal in refusals]
    assert kinds.count(RateLimited) >= 1 or 60 - time.time() % 60 > 55  # a window's edge may lie in between
    assert kinds[0] is AuthenticationFailed
    assert isinstance(elsewhere, AuthenticationFailed)
    assert (await authenticate(issued.secret)).key_id == issued.key.pk


async def test_without_redis_failures_are_counted_here_and_never_a_500(own_valkey: Valkey) -> None:
    own_valkey.stall()

    started = time.monotonic()
    kinds = [type(await refusal_of("nonsense", now=clock.now().replace(second=0))) for _ in range(62)]
    seconds = time.monotonic() - started
    own_valkey.go_on()

    assert set(kinds) == {AuthenticationFailed, RateLimited}
    assert kinds[-1] is RateLimited
    assert seconds < 1.0


async def test_no_secret_is_written_anywhere(caplog: pytest.LogCaptureFixture, valkey: Valkey) -> None:
    caplog.set_level(logging.DEBUG)
    issued = make_key(make_tenant())
    await authenticate(issued.secret)
    await refusal_of(issued.secret + "x")
    successor = outside_of_the_loop(lambda: keys.rotate(issued.key, overlap=timedelta(0), now=clock.now()))
    await refusal_of(issued.secret)
    await audit.flush()

    dump = str(await pg.fetch_all("SELECT k::text FROM tenants_apikey k"))
    dump += str(await pg.fetch_all("SELECT a::text FROM tenants_auditentry a"))
    dump += caplog.text + repr(issued) + repr(successor) + str(valkey.command("KEYS", "*"))
    for secret in (issued.secret, successor.secret):
        assert secret[12:-4] not in dump
        assert secret[20:40] not in dump
