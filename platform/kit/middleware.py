"""What happens around every request that reaches Django."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

from kit import access
from kit import request_ids as ids
from kit.errors import InvalidRequest, SkillgateError

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
            token = _begin(request)
            try:
                refusal = _refuse_host(request)
                return _signed(refusal or await get_response(request), request)
            finally:
                ids.current.reset(token)

        return middleware

    def sync_middleware(request: HttpRequest) -> HttpResponseBase:
        token = _begin(request)
        try:
            return _signed(_refuse_host(request) or get_response(request), request)
        finally:
            ids.current.reset(token)

    return sync_middleware


def _begin(request: Any) -> Any:
    request.request_id = ids.accept(request.META.get("HTTP_X_REQUEST_ID"))
    return ids.current.set(request.request_id)


def _refuse_host(request: HttpRequest) -> HttpResponse | None:
    """Django's own check comes later and answers in HTML."""
    if not is_api(request.path_info):
        return None
    try:
        request.get_host()
    except DisallowedHost:
        error = InvalidRequest("The Host header names no host of this platform.")
        return envelope_response(error, request_id=request_id_of(request))
    return None


def _signed(response: HttpResponseBase, request: Any) -> HttpResponseBase:
    if request.resolver_match is not None:
        access.note(route=request.resolver_match.route)
    response.headers["request-id"] = request.request_id
    response.headers["X-Request-ID"] = request.request_id
    return response
