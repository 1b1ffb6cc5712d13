"""One SDK client for each event loop and provider key, with limits and timeouts of our own.

A tenant's own key is read when its first call comes and again after a minute or a change; it is never logged.
"""

import asyncio
import ssl
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

import httpx2
from django.conf import settings

from kit import clock, control, loops
from kit.errors import Unavailable
from skills.claude import provider
from skills.claude.connector import Connector
from skills.claude.faults import translated
from skills.claude.provider import Kind, ProviderKey
from skills.claude.sdk import Claude, Sender
from tenants import provider_keys
from tenants.keys import Caller

_COUNTED = ("model", "messages", "system", "tools", "tool_choice", "thinking", "output_config")
_KNOWN_SECONDS = 60.0
_MOST_OWN = 1_000
_clients: loops.Own[dict[Kind, Claude]] = loops.Own(dict)
_own: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[int, tuple[float, Claude]]] = WeakKeyDictionary()
_changes = {"count": 0}


def timeouts() -> httpx2.Timeout:
    """Return the time each phase of a call may take."""
    return httpx2.Timeout(
        connect=settings.CLAUDE_CONNECT_SECONDS,
        read=settings.CLAUDE_SILENCE_SECONDS,
        write=settings.CLAUDE_SILENCE_SECONDS,
        pool=settings.CLAUDE_CONNECT_SECONDS,
    )


async def client(key: ProviderKey) -> Claude:
    """Return the running loop's client for a provider key.

    Test keys reach the emulator and nothing else; Unavailable when there is none, or no database to read a
    tenant's own key from.
    """
    if key.kind == "own":
        return await _of_tenant(key.tenant_id)
    return _shared(key.kind)


def at_hand(key: ProviderKey) -> Claude | None:
    """Return the same if it is there and nothing has to be read for it."""
    return _known_of(key.tenant_id) if key.kind == "own" else _clients.here().get(key.kind)


def _known_of(tenant_id: int) -> Claude | None:
    read_at, known = _own.get(asyncio.get_running_loop(), {}).get(tenant_id, (0.0, None))
    return known if known is not None and clock.monotonic() - read_at < _KNOWN_SECONDS else None


async def _of_tenant(tenant_id: int) -> Claude:
    if (known := _known_of(tenant_id)) is not None:
        return known
    of_loop = _own.setdefault(asyncio.get_running_loop(), {})
    changes = _changes["count"]
    secret = await provider_keys.reveal(tenant_id)
    shared = _shared("platform")
    if secret is None:  # removed a moment ago
        return shared
    while len(of_loop) >= _MOST_OWN:
        of_loop.pop(next(iter(of_loop)))
    made = shared.with_options(api_key=secret)  # the connections are the same ones
    if changes == _changes["count"]:  # else what was read may be the key from before
        of_loop[tenant_id] = (clock.monotonic(), made)
    return made


def _shared(kind: Kind) -> Claude:
    of_loop = _clients.here()
    if kind not in of_loop:
        if not of_loop:
            loops.at_close(close, name="close Claude clients")
        of_loop[kind] = _build(kind)
    return of_loop[kind]


def _build(kind: Kind) -> Claude:
    is_test = kind == "emulator"
    if is_test and not settings.EMULATOR_URL:
        raise Unavailable("Test keys are answered by the emulator, and none is running here.", retry_after=60)
    return Claude(
        api_key="emulator" if is_test else settings.ANTHROPIC_API_KEY,
        base_url=settings.EMULATOR_URL if is_test else settings.ANTHROPIC_BASE_URL,
        max_retries=0,
        timeout=timeouts(),
        open_telemetry=False,
        http_client=Sender(Connector(tls=tls()), tls=tls(), timeout=timeouts()),
    )


@cache
def tls() -> ssl.SSLContext:
    """Return what this process trusts: as the SDK's clients make it, which takes 30 ms, and once for all of them."""
    return httpx2.create_ssl_context()


async def close() -> None:
    """Close the running loop's clients."""
    _own.pop(asyncio.get_running_loop(), None)
    of_loop = _clients.here()
    while of_loop:
        await of_loop.popitem()[1].close()


async def count_tokens(body: dict[str, Any], *, caller: Caller) -> int:
    """Ask Claude how many input tokens a request has; it costs nothing.

    Raises the family of `kit.errors` that upstream faults map to.
    """
    counted = {name: body[name] for name in _COUNTED if name in body}
    key = provider.of(caller)
    sdk = await client(key)
    with translated(is_own_key=key.kind == "own"):
        answer = await sdk.messages.count_tokens(model=body["model"], messages=(), extra_body=counted)
    return int(answer.input_tokens)


def _forget(message: control.Message) -> None:
    _changes["count"] += 1
    for of_loop in tuple(_own.values()):
        of_loop.pop(message["tenant_id"], None)


def _forget_all(_: control.Message) -> None:
    _changes["count"] += 1
    for of_loop in tuple(_own.values()):
        of_loop.clear()


control.subscribe("tenant.changed", _forget)
control.subscribe(control.CONNECTED, _forget_all)
