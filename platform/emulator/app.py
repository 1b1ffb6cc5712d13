"""The application: authenticates, routes, and turns every refusal into the API's envelope."""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING

from emulator import batches, catalogue, control, messages, organization
from emulator.exchange import JSON
from emulator.ratelimits import RateLimits
from emulator.refusals import Refused
from emulator.state import BATCHES

if TYPE_CHECKING:
    from emulator.exchange import Exchange
    from emulator.state import State

_log = logging.getLogger("emulator")
_POSTS = {"/v1/messages": messages.create, "/v1/messages/count_tokens": messages.count_tokens}
_MODELS = "/v1/models"


class Emulator:
    """One emulator: an application over one state, called with each exchange."""

    def __init__(self, state: State) -> None:
        self.state = state
        self._limits = RateLimits()

    async def __call__(self, exchange: Exchange) -> None:
        """Answer one request."""
        is_ours = exchange.path.startswith(control.PREFIX)
        if not is_ours:
            self.state.stats.enter()
        try:
            await self._answer(exchange)
        finally:
            if not is_ours:
                self.state.stats.leave(_counted(exchange.path), status=exchange.status)

    async def _answer(self, exchange: Exchange) -> None:
        try:
            await self._route(exchange)
        except Refused as refused:
            body = refused.envelope(request_id=exchange.request_id)
            await exchange.respond(body, status=refused.status, headers=JSON + refused.headers)
        except Exception:  # noqa: BLE001 - the entry point: whatever went wrong is answered, and logged
            _log.exception("request %s failed", exchange.request_id)
            if not exchange.status:
                fault = Refused(500, "Internal server error")
                await exchange.respond(fault.envelope(request_id=exchange.request_id), status=500)

    async def _route(self, exchange: Exchange) -> None:
        if exchange.path.startswith(control.PREFIX):
            await control.answer(exchange, self.state)
            return
        exchange.extra_headers = self._limits.headers(now=time.time())
        key = _authenticate(exchange)
        post = _POSTS.get(exchange.path)
        if post is not None and exchange.method == "POST":
            await post(exchange, self.state, key=key)
        elif f"{exchange.path}/".startswith(f"{BATCHES}/"):
            await batches.answer(exchange, self.state, key=key)
        elif exchange.method == "GET" and exchange.path.startswith(organization.PREFIX):
            await organization.answer(exchange, self.state, key=key)
        elif exchange.method == "GET" and f"{exchange.path}/".startswith(f"{_MODELS}/"):
            await self._models(exchange)
        else:
            raise Refused(405 if post is not None else 404, "Not found" if post is None else "Method Not Allowed")

    async def _models(self, exchange: Exchange) -> None:
        plan = self.state.faults.plan(b"", path=_MODELS)
        if await messages.obstruct(exchange, plan, latency_ms=0):
            return
        name = exchange.path.removeprefix(_MODELS).strip("/")
        found = catalogue.describe(catalogue.find(name)) if name else catalogue.page(exchange.query)
        await exchange.respond(json.dumps(found).encode())


def _authenticate(exchange: Exchange) -> str:
    key = exchange.header(b"x-api-key") or exchange.header(b"authorization").removeprefix("Bearer").strip()
    if not key:
        raise Refused(401, "x-api-key header is required")
    if key == "invalid" or key.startswith("sk-invalid"):
        raise Refused(401, "invalid x-api-key")
    return key


def _counted(path: str) -> str:
    """Return the path under which a request is counted, so that strangers' paths do not fill the memory."""
    if path in _POSTS or path == _MODELS:
        return path
    if path.startswith(BATCHES):
        return BATCHES
    return f"{_MODELS}/{{id}}" if path.startswith(f"{_MODELS}/") else "other"
