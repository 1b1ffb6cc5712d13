"""What happens around every request that reaches Django."""

import json
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse
from django.http.request import split_domain_port, validate_host
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

from kit import access
from kit import request_ids as ids
from kit.errors import InvalidRequest, SkillgateError
from kit.settings import settings

API_PREFIXES = ("/v1/", "/health/", "/mcp")

Responder = Callable[[HttpRequest], Any]


def is_api(path: str) -> bool:
    """Say whether whoever asks for `path` is a program that expects JSON."""
    return path.startswith(API_PREFIXES) or path in {"/v1", "/health"}


def request_id_of(request: Any) -> str | None:
    """Return the id of a request, whether Django's or DRF's."""
    return getattr(request, "request_id", None) or ids.current.get()


def envelope_response(error: SkillgateError, *, request_id: str | None) -> HttpResponse:
    """Render an error as a plain response, for where no view is at work."""
    content = json.dumps(error.envelope(request_id=request_id))
    return HttpResponse(content, status=error.status, content_type="application/json", headers=error.headers)


@sync_and_async_middleware
def request_ids(get_response: Responder) -> Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]:
    """Give every request an id, repeat it in the response, and refuse API calls to a false host."""
    if iscoroutinefunction(get_response):

        async def middleware(request: HttpRequest) -> HttpResponseBase:
            token = begin(request)
            try:
                refusal = refuse_host(request)
                return _signed(refusal or await get_response(request), request)
            finally:
                ids.current.reset(token)

        return middleware

    def sync_middleware(request: HttpRequest) -> HttpResponseBase:
        token = begin(request)
        try:
            return _signed(refuse_host(request) or get_response(request), request)
        finally:
            ids.current.reset(token)

    return sync_middleware


def begin(request: Any) -> Any:
    """Give a request its id, and return the token that `request_ids.current` is reset with at its end."""
    request.request_id = named = ids.accept(request.META.get("HTTP_X_REQUEST_ID"))
    return ids.current.set(named)


def refuse_host(request: HttpRequest) -> HttpResponse | None:
    """Refuse an API call to a false host; Django's own check comes later and answers in HTML."""
    if _is_ours(request.META.get("HTTP_HOST", ""), tuple(settings.ALLOWED_HOSTS)) or not is_api(request.path_info):
        return None
    try:
        request.get_host()
    except DisallowedHost:
        error = InvalidRequest("The Host header names no host of this platform.")
        return envelope_response(error, request_id=request_id_of(request))
    return None


@lru_cache(maxsize=64)
def _is_ours(host: str, allowed: tuple[str, ...]) -> bool:
    domain, _ = split_domain_port(host)
    return bool(domain) and validate_host(domain, allowed)


def _signed(response: HttpResponseBase, request: Any) -> HttpResponseBase:
    if request.resolver_match is not None:
        access.note(route=request.resolver_match.route)
    response.headers["request-id"] = request.request_id
    response.headers["X-Request-ID"] = request.request_id
    return response
