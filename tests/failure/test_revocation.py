"""A key that may spend no more ends what runs on it within a second, and within 15 s without Redis."""

import asyncio
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from embedded import waiting
from tests.failure import books, callers
from tests.failure.callers import Told
from tests.failure.stack import Row, Stack

ENDS_WITHIN_SECONDS = 1.0
ENDS_WITHOUT_REDIS_SECONDS = 15.0
# From what the row says to the commit, and the answer's way home, on a machine that has other work too.
MARGIN_SECONDS = 0.3
_WORDS = callers.lasting(40)
_MAX_TOKENS = 4_000  # more than the words need: the answer may not end by itself
_PART = """
import json
from kit import clock
from tenants import keys, tenants
tenant = tenants.create("SLUG", name="SLUG", monthly_token_budget=10**12)
issued = keys.issue(tenant, name="SLUG", now=clock.now(), monthly_token_budget=10**12)
print(json.dumps({"tenant": "SLUG", "secret": issued.secret, "key": issued.key.public_id, "id": issued.key.pk}))
"""
_SUSPEND = """
from kit import clock
from tenants import tenants
from tenants.models import Tenant
tenants.suspend(Tenant.objects.get(slug="SLUG"), reason="unpaid", now=clock.now())
"""


@dataclass(frozen=True, slots=True)
class Part:
    """A tenant with one key."""

    tenant: str
    secret: str
    key: str
    id: int


@pytest.fixture
def part(stack: Stack) -> Part:
    """A tenant and a key of this test's own, with every web process listening: Redis may just be back."""
    assert waiting.until(lambda: _listeners(stack) >= len(stack.webs), seconds=20, every=0.1)
    return Part(**json.loads(stack.python(_PART.replace("SLUG", f"ends-{secrets.token_hex(4)}"))))


def test_running_calls_of_an_expired_key_end_at_its_expiry(stack: Stack, part: Part) -> None:
    (row,) = stack.sql(
        "UPDATE tenants_apikey SET expires_at = clock_timestamp() + interval '8 seconds' WHERE id = %s RETURNING expires_at",
        [part.id],
    )
    time.sleep(5.1)  # a key is remembered for 5 s, and with it the expiry that it had

    told = asyncio.run(_end_while_running(stack, part, lambda: None))

    for one in told:
        _assert_refused(one)
        assert -0.1 < one.ended_at - row["expires_at"].timestamp() < ENDS_WITHIN_SECONDS + MARGIN_SECONDS
    _assert_billed_once(stack, part, calls=len(told))


def test_running_calls_of_a_revoked_key_end_within_a_second(stack: Stack, part: Part) -> None:
    told = asyncio.run(_end_while_running(stack, part, lambda: _revoke(stack, part)))

    assert {one.status for one in told} == {200, 401}
    for one in told:
        _assert_refused(one)
        assert one.ended_at - _revoked_at(stack, part) < ENDS_WITHIN_SECONDS + MARGIN_SECONDS
    _assert_billed_once(stack, part, calls=len(told))


def test_running_calls_of_a_suspended_tenant_end_within_a_second(stack: Stack, part: Part) -> None:
    told = asyncio.run(_end_while_running(stack, part, lambda: stack.python(_SUSPEND.replace("SLUG", part.tenant))))

    (entry,) = stack.sql(
        "SELECT at FROM tenants_auditentry WHERE action = 'tenant.suspended' AND subject = %s", [part.tenant]
    )
    for one in told:
        _assert_refused(one)
        assert one.ended_at - entry["at"].timestamp() < ENDS_WITHIN_SECONDS + MARGIN_SECONDS
    _assert_billed_once(stack, part, calls=len(told))


def test_running_calls_of_a_revoked_key_end_in_time_without_redis(stack: Stack, part: Part) -> None:
    def revoke_unheard() -> None:
        stack.valkey.kill()
        _revoke(stack, part)

    try:
        told = asyncio.run(_end_while_running(stack, part, revoke_unheard))
    finally:
        stack.valkey.start()

    for one in told:
        _assert_refused(one)
        assert one.ended_at - _revoked_at(stack, part) < ENDS_WITHOUT_REDIS_SECONDS + MARGIN_SECONDS
    _assert_billed_once(stack, part, calls=len(told))


async def _end_while_running(stack: Stack, part: Part, end: Callable[[], object]) -> list[Told]:
    """Start a call of each kind on each web process, end the key while they run, and return what they were told."""
    kinds = (callers.run, callers.stream, callers.relay)
    calls = [
        asyncio.create_task(call(url, part.secret, _WORDS, max_tokens=_MAX_TOKENS))
        for call in kinds
        for url in stack.urls
    ]
    await asyncio.sleep(1.5)
    assert not any(call.done() for call in calls)
    await asyncio.to_thread(end)
    told = list(await asyncio.gather(*calls))
    refused = await callers.run(stack.urls[0], part.secret, callers.prompt(words=4))
    assert refused.status == 401
    return told


def _listeners(stack: Stack) -> int:
    with stack.redis() as connection:
        channels = connection.pubsub_channels("skillgate:control*")
        return sum(count for _, count in connection.pubsub_numsub(*channels))


def _revoke(stack: Stack, part: Part) -> None:
    stack.manage("revoke_key", "--key", part.key, "--reason", "leaked")


def _revoked_at(stack: Stack, part: Part) -> float:
    (row,) = stack.sql("SELECT revoked_at FROM tenants_apikey WHERE id = %s", [part.id])
    revoked_at: datetime = row["revoked_at"]
    return revoked_at.astimezone(UTC).timestamp()


def _assert_refused(told: Told) -> None:
    """JSON ends with the envelope of a 401; a stream had begun, so its last event is that envelope."""
    if told.status == 401:
        assert told.error["type"] == "authentication_error"
    else:
        assert told.status == 200
        assert '"authentication_error"' in told.text
    assert "message_stop" not in told.text


def _assert_billed_once(stack: Stack, part: Part, *, calls: int) -> None:
    def newest() -> list[Row]:
        query = "SELECT id, state, error_type FROM usage_event WHERE key_id = %s ORDER BY number DESC LIMIT %s"
        return stack.sql(query, [part.id, calls])

    assert waiting.until(lambda: all(event["state"] != "open" for event in newest()), seconds=5)
    references = [call["client_reference"] for call in stack.calls()]
    assert [event["state"] for event in newest()] == ["estimated"] * calls
    assert [references.count(str(event["id"])) for event in newest()] == [1] * calls
    assert books.faults(stack) == []
