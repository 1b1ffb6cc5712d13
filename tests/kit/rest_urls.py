"""A few views that show how `kit.rest` behaves; only its tests route to them."""

import threading
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import path, re_path
from rest_framework import exceptions
from rest_framework.request import Request

from kit import request_ids, rest
from kit.errors import AuthenticationFailed, NotFound, RateLimited

seen: list[Any] = []

ERRORS: dict[str, Exception] = {
    "limited": RateLimited("Slow down.", retry_after=7, limit=3),
    "absent": NotFound("No such run."),
    "key": AuthenticationFailed(),
    "http404": Http404("secret detail"),
    "denied": PermissionDenied("secret detail"),
    "too-big": RequestDataTooBig("secret detail"),
    "suspicious": SuspiciousOperation("secret detail"),
    "parse": exceptions.ParseError("secret detail"),
    "throttled": exceptions.Throttled(wait=12),
    "not-authenticated": exceptions.NotAuthenticated("secret detail"),
    "validation": exceptions.ValidationError({"field": ["This is required."]}),
    "crash": RuntimeError("secret detail"),
}


class EchoView(rest.AsyncAPIView):
    """Answers what was sent."""

    async def get(self, request: Request) -> HttpResponseBase:
        """Tells what the request was seen as."""
        seen.append(threading.current_thread())
        return rest.respond({"id": request_ids.current.get()}, request=request, headers={"X-Extra": "1"})

    async def post(self, request: Request) -> HttpResponseBase:
        """Echoes the body."""
        seen.append(request.data)
        return rest.respond(request.data, request=request, status=201)


class RaiseView(rest.AsyncAPIView):
    """Raises."""

    async def get(self, request: Request, name: str) -> HttpResponseBase:
        """Raises the error of that name."""
        raise ERRORS[name]


class OddView(rest.AsyncAPIView):
    """Answers what is hard to write as JSON."""

    async def get(self, request: Request, name: str) -> HttpResponseBase:
        """Answers the odd value of that name."""
        return rest.respond({"nan": float("nan"), "surrogate": "a\ud800b", "text": "é\u2028"}[name], request=request)


class SmallView(EchoView):
    """Takes ten bytes."""

    max_body_bytes = 10


class StreamView(rest.AsyncAPIView):
    """Streams."""

    produces = ("text/event-stream",)

    async def post(self, request: Request) -> HttpResponseBase:
        """Streams one event."""

        async def events() -> Any:
            yield b"data: 1\n\n"

        return StreamingHttpResponse(events(), content_type="text/event-stream")


def page(request: HttpRequest) -> HttpResponse:
    """A page that is no part of the API."""
    return HttpResponse("<p>page</p>")


def broken(request: HttpRequest) -> HttpResponse:
    """A plain Django view that breaks."""
    raise ValueError


urlpatterns = [
    path("v1/echo", EchoView.as_view()),
    path("v1/small", SmallView.as_view()),
    path("v1/stream", StreamView.as_view()),
    path("v1/raise/<str:name>", RaiseView.as_view()),
    path("v1/odd/<str:name>", OddView.as_view()),
    path("v1/broken", broken),
    path("broken", broken),
    path("page", page),
    re_path("^v1/caught/", rest.not_found),
]
handler400 = "kit.rest.handler400"
handler403 = "kit.rest.handler403"
handler404 = "kit.rest.handler404"
handler500 = "kit.rest.handler500"
