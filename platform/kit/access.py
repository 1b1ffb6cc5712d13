"""One line and one count for every request, written when its last byte is gone: at the outermost edge, without threads.

Whoever works for the request adds what it learns with `note`: the route, the tenant, the run.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextvars import ContextVar
from functools import cache
from typing import Any

from kit import clock, logs, traces
from kit.metrics import Counter, Gauge, Histogram
from kit.settings import settings

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

REQUESTS = Counter("skillgate_requests_total", "Requests answered.", ["route", "method", "status"])
SECONDS = Histogram(
    "skillgate_request_seconds",
    "From a request's arrival to the last byte of its answer.",
    ["route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)
OPEN = Gauge("skillgate_requests_open", "Requests and sockets under way.", ["protocol"], multiprocess_mode="livesum")

log = logging.getLogger("skillgate.requests")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_QUIET = frozenset({"health/live", "health/ready", "metrics"})
_LONGEST_PATH = 200
_LEFT = 499  # the client was gone before an answer began
_notes: ContextVar[dict[str, Any] | None] = ContextVar("request_notes", default=None)


def note(**facts: Any) -> None:
    """Add facts to the line of the request this task works for, if there is one."""
    noted = _notes.get()
    if noted is not None:
        noted.update(facts)


class Observed:
    """An ASGI application whose requests and sockets are counted and told of."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._open = {protocol: OPEN.labels(protocol) for protocol in ("http", "websocket")}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or socket; a server's life passes unobserved."""
        counted = self._open.get(scope["type"])
        if counted is None:
            await self._application(scope, receive, send)
            return
        noted: dict[str, Any] = {}
        began = clock.monotonic()

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                noted["status"], noted["head"] = message["status"], message
                noted["first_byte_ms"] = clock.monotonic() - began
            elif message["type"] == "websocket.accept":
                noted["status"] = 101
            await send(message)

        token = _notes.set(noted)
        counted.inc()
        try:
            if traces.is_on():
                await self._trace(scope, receive, watched, noted)
            else:
                await self._application(scope, receive, watched)
        finally:
            counted.dec()
            _notes.reset(token)
            _conclude(noted)
            _tell(scope, noted, seconds=clock.monotonic() - began)

    async def _trace(self, scope: Scope, receive: Receive, send: Send, noted: dict[str, Any]) -> None:
        with _span(scope) as span:
            try:
                await self._application(scope, receive, send)
            finally:
                _conclude(noted)
                traces.tell(span, _facts(noted), error=str(noted.get("error") or ""))


def _span(scope: Mapping[str, Any]) -> Any:
    method = str(scope.get("method", "WEBSOCKET"))
    carrier = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    facts = {
        "http__request__method": method,
        "url__path": scope["path"][:_LONGEST_PATH],
        "url__scheme": scope["scheme"],
    }
    return traces.span(method, kind="server", carrier=carrier, **facts)


def _facts(noted: Mapping[str, Any]) -> dict[str, Any]:
    own = {f"skillgate.{name}": noted.get(name) for name in ("request_id", "tenant", "key", "run")}
    return {"http.response.status_code": noted.get("status"), "http.route": noted.get("route"), **own}


def _tell(scope: Mapping[str, Any], noted: dict[str, Any], *, seconds: float) -> None:
    route = noted.pop("route", "")
    if not route or route.startswith("^"):  # the last route takes every path that no other does
        route = _unrouted(scope)
    method = str(scope.get("method", "GET"))
    method = method if method in _METHODS else "other"
    status = int(noted.pop("status", _LEFT))
    requests, durations = _counted(route, method, status)
    requests.inc()
    durations.observe(seconds)
    if settings.LOG_REQUESTS and (route not in _QUIET or status >= 500):
        facts = {"method": method, "route": route, "path": scope["path"][:_LONGEST_PATH], "status": status}
        known = {name: fact for name, fact in noted.items() if fact is not None}
        logs.tell(log, "request", {**facts, "duration_ms": _milliseconds(seconds), **known})


@cache  # routes, methods and statuses are few
def _counted(route: str, method: str, status: int) -> tuple[Counter, Histogram]:
    return REQUESTS.labels(route, method, str(status)), SECONDS.labels(route)


def _unrouted(scope: Mapping[str, Any]) -> str:
    """What has no route of Django's, by a name: paths are anyone's to invent, and labels must stay few."""
    if scope["type"] == "websocket":
        return "websocket"
    return "mcp" if scope["path"].rstrip("/") == "/mcp" else "unmatched"


def _conclude(noted: dict[str, Any]) -> None:
    """Read what the answer's head says, once it is gone."""
    head = noted.pop("head", None)
    if head is not None:
        noted["first_byte_ms"] = _milliseconds(noted["first_byte_ms"])
        if "request_id" not in noted:
            noted["request_id"] = _request_id(head)


def _request_id(start: Message) -> str | None:
    """The answer carries it, whoever gave it: pages, the API and MCP each have their own way."""
    for name, value in start.get("headers", ()):
        if name.lower() == b"request-id":
            return str(value.decode("latin-1"))
    return None


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 1)
