"""`/metrics`: what this process counted, and what the database says now, for Prometheus."""

import hmac
import ipaddress
import os
from http import HTTPStatus

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Gauge,
    disable_created_metrics,
    exposition,
    multiprocess,
)

from kit.errors import Unavailable
from skills.analyses import dispatch
from usage import metrics as ledger_metrics

POSTGRES = Gauge("skillgate_postgres_up", "Whether Postgres answered this scrape.", multiprocess_mode="mostrecent")
disable_created_metrics()  # type: ignore[no-untyped-call]  # half of the page, for nothing that we ask
_PROXIED = ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via")


async def page(request: HttpRequest) -> HttpResponse:
    """Answer a scrape that carries the token, or comes from this machine where none is set."""
    if not _is_allowed(request):
        status = HTTPStatus.UNAUTHORIZED if settings.METRICS_TOKEN else HTTPStatus.FORBIDDEN
        return HttpResponse("Not for you.\n", status=status, content_type="text/plain")
    await _refresh()
    encode, content_type = exposition.choose_encoder(request.headers.get("Accept", CONTENT_TYPE_LATEST))
    return HttpResponse(encode(registry()), content_type=content_type, headers={"Cache-Control": "no-store"})


def registry() -> CollectorRegistry:
    """Return what to expose: all processes that share PROMETHEUS_MULTIPROC_DIR, or this one."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    shared = CollectorRegistry()
    multiprocess.MultiProcessCollector(shared)  # type: ignore[no-untyped-call]  # the library's own gap
    return shared


async def _refresh() -> None:
    try:
        await ledger_metrics.refresh()
        await dispatch.count()
    except Unavailable:
        POSTGRES.set(0)
    else:
        POSTGRES.set(1)


def _is_allowed(request: HttpRequest) -> bool:
    if settings.METRICS_TOKEN:
        given = request.headers.get("Authorization", "")
        return hmac.compare_digest(given.encode(), f"Bearer {settings.METRICS_TOKEN}".encode())
    # A proxy on this machine would make everybody local; what it forwards says so.
    if any(name in request.headers for name in _PROXIED):
        return False
    try:
        return ipaddress.ip_address(str(request.META.get("REMOTE_ADDR", ""))).is_loopback
    except ValueError:
        return False
