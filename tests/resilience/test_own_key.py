"""A tenant's own Anthropic key: its calls go by it, a new one at once, and its refusal is told as such."""

import asyncio
from dataclasses import replace

from emulator.state import key_digest
from kit import clock, control
from kit.errors import UpstreamFailed
from tenants import provider_keys
from tenants.models import Tenant
from tests.factories import outside_of_the_loop
from tests.resilience.bench import Bench, heard_by_all, journal, marker, strike

FIRST, SECOND = "sk-ant-" + "a" * 40, "sk-ant-" + "b" * 40


async def test_calls_go_by_the_tenants_own_key(bench: Bench) -> None:
    await heard_by_all()
    plain = await _digest_of_a_call(bench)

    bench.caller = replace(bench.caller, has_provider_key=True)
    digests = []
    for secret in (FIRST, SECOND):
        _store(bench, secret)
        await _heard()
        digests.append(await _digest_of_a_call(bench))

    assert plain not in digests
    assert digests == [key_digest(FIRST), key_digest(SECOND)]


async def test_a_key_that_was_removed_a_moment_ago_gives_way_to_the_platforms(bench: Bench) -> None:
    plain = await _digest_of_a_call(bench)
    bench.caller = replace(bench.caller, has_provider_key=True)

    assert await _digest_of_a_call(bench) == plain


async def test_a_refused_key_is_told_as_the_tenants_own(bench: Bench) -> None:
    _store(bench, FIRST)
    own = replace(bench.caller, has_provider_key=True)

    for kind in ("http_401", "http_403"):
        mark = marker()
        strike(kind, mark)
        error = await Bench(own).refusal(f"Hello {mark}")
        assert isinstance(error, UpstreamFailed)
        assert error.details["reason"] == "provider_key_refused"
        assert FIRST not in str(error.envelope(request_id=None))
        assert "reason" not in (await bench.refusal(f"Hello {mark}")).details


async def _digest_of_a_call(bench: Bench) -> str:
    before = len(journal())
    await bench.ask("Hello")
    (entry,) = journal()[before:]
    return str(entry["key_digest"])


async def _heard() -> None:
    """Until the change has come round: what is sent on a channel arrives in the order it was sent."""
    heard = asyncio.Event()
    end = control.subscribe("test.heard", lambda _: heard.set())
    await control.announce("test.heard")
    await asyncio.wait_for(heard.wait(), timeout=5)
    end()


def _store(bench: Bench, secret: str) -> None:
    def work() -> None:
        tenant = Tenant.objects.get(pk=bench.caller.tenant_id)
        provider_keys.store(tenant, secret=secret, now=clock.now(), actor="alice")

    outside_of_the_loop(work)
