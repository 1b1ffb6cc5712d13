"""DRF for this platform: async without thread hops, strict JSON in and out, one envelope for every error."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache, wraps
from http import HTTPStatus
from typing import Any, ClassVar, cast

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.datastructures import MultiValueDict
from django.views import defaults
from rest_framework import exceptions
from rest_framework.request import Empty, Request
from rest_framework.response import Response
from rest_framework.views import APIView

from kit import access, strict_json
from kit.errors import SkillgateError
from kit.middleware import envelope_response, is_api, request_id_of
from kit.wire import JSON, Negotiation, StrictJSONParser, StrictJSONRenderer, as_error, error_for, put

logger = logging.getLogger(__name__)

_NEGOTIATION = Negotiation()
_NO_FILES: Any = MultiValueDict()
_BROKEN = "Something went wrong on our side. Quote the request id if you report it."


class StrictRequest(Request):
    """DRF's request, which also reads a body that came without a Content-Length, and never skips an empty one."""

    def __init__(self, request: HttpRequest, *, parsers: Sequence[Any], parser_context: dict[str, Any]) -> None:
        """Wrap Django's request, with what views ask it for at hand: DRF's looks for it here first, in three calls.

        DRF's own constructor also looks for users of its tests, which are never asked for.
        """
        asked: Any = request
        self._request = request
        self.parsers, self.authenticators, self.negotiator = parsers, (), _NEGOTIATION
        self.parser_context = parser_context
        self._data = self._files = self._full_data = self._content_type = Empty
        self._stream: Any = Empty
        self.META, self.method, self.path = asked.META, asked.method, asked.path
        self.request_id = getattr(asked, "request_id", None)

    @property
    def data(self) -> Any:
        """The body, parsed when it is first asked for."""
        if self._full_data is Empty:
            self._load_data_and_files()
        return self._full_data

    def _load_data_and_files(self) -> None:
        """Parse the body, at once if it is what the view expects first; DRF would go through a dozen steps."""
        expected: Any = (self.parsers or ())[0]
        if self.META.get("CONTENT_TYPE") != expected.media_type:
            django: Any = super()
            self.parser_context |= {"request": self, "encoding": self._request.encoding or settings.DEFAULT_CHARSET}
            django._load_data_and_files()  # noqa: SLF001 - the stubs leave it out
            return
        self._full_data = self._data = expected.parse(self._request, expected.media_type, self.parser_context)
        self._files = _NO_FILES

    def _load_stream(self) -> None:
        self._stream = self._request

    def _parse(self) -> tuple[Any, Any]:
        if not self.content_type:
            if not self._request.read(1):
                strict_json.loads(b"")  # its words for an empty body
            raise error_for(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        parsed: tuple[Any, Any] = super()._parse()  # type: ignore[misc]  # DRF's stubs leave it out
        return parsed


def respond(
    data: Any, *, request: Request | HttpRequest, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Answer with JSON that carries the request's id."""
    response = Response(data, status=status, headers=dict(headers or {}))
    request_id = request_id_of(request)
    if request_id is not None:
        response.headers["request-id"] = request_id
    return response


class AsyncAPIView(APIView):
    """An APIView whose handlers are `async def` and run on the event loop, with nothing in a thread on the way.

    `produces` lists the media types a client must accept one of; `max_body_bytes` and `max_body_keys` override the usual limits.
    """

    produces: ClassVar[tuple[str, ...]] = (JSON,)
    max_body_bytes: ClassVar[int] = settings.MAX_BODY_BYTES
    max_body_keys: ClassVar[int] = strict_json.MAX_KEYS
    authentication_classes: Any = ()
    permission_classes: Any = ()
    throttle_classes: Any = ()
    parser_classes = (StrictJSONParser,)
    renderer_classes = (StrictJSONRenderer,)
    format_kwarg: Any = None  # no suffix of a path names a format
    _allow: ClassVar[str]
    _handlers: ClassVar[Mapping[str, str]]  # by method

    def __init_subclass__(cls, **options: Any) -> None:
        """Put together what the class allows, once."""
        super().__init_subclass__(**options)
        named = {name.upper(): "get" if name == "head" else name for name in cls.http_method_names}
        cls._handlers = {method: name for method, name in named.items() if hasattr(cls, name)}
        cls._allow = ", ".join(cls._handlers)

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Any:
        """Make the view function; Django's would keep `get` as `head`, a cycle that only the garbage collector ends."""

        @wraps(super().as_view(**initkwargs))
        def view(request: HttpRequest, *args: Any, **kwargs: Any) -> Awaitable[HttpResponseBase]:
            return cls(**initkwargs).dispatch(request, *args, **kwargs)

        return view

    async def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:  # type: ignore[override]  # async is the point
        """Run the handler and render what it returns, or the error it raised.

        DRF's own steps before a handler (authentication, permissions, throttles) are not used.
        """
        context = {"view": self, "args": args, "kwargs": kwargs}
        wrapped = StrictRequest(request, parsers=_made(self.parser_classes), parser_context=context)
        self.request, self.args, self.kwargs, self.headers = wrapped, args, kwargs, {"Allow": self._allow}
        try:
            chosen = _NEGOTIATION.select_renderer(wrapped, _made(self.renderer_classes))
            wrapped.accepted_renderer, wrapped.accepted_media_type = chosen
            name = self._handlers.get(request.method or "")
            if name is None:
                raise exceptions.MethodNotAllowed(request.method or "")
            return self._rendered(await getattr(self, name)(wrapped, *args, **kwargs))
        except Exception as error:  # noqa: BLE001 - the entry point: every error becomes an envelope, the unknown are logged
            return self._rendered(self.handle_exception(error))
        finally:
            context.clear()  # it holds the view and the request, which hold it

    async def options(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponse:  # type: ignore[override]  # the same
        """Answer which methods are allowed, in the Allow header."""
        return HttpResponse(status=HTTPStatus.NO_CONTENT)

    def handle_exception(self, exc: Exception) -> Response:
        """Turn any error into a response."""
        return exception_handler(exc, self.get_exception_handler_context())

    def _rendered(self, response: HttpResponseBase) -> HttpResponseBase:
        """Django would render a DRF response in a thread, so what it gets is rendered already."""
        if not isinstance(response, Response):
            put(response, "Allow", self._allow)
            return response
        final = self.finalize_response(self.request, response, *self.args, **self.kwargs)
        content = final.rendered_content
        cast("Any", final).renderer_context.clear()  # it holds the response, which holds it
        plain = HttpResponse(content, status=final.status_code, headers=dict(final.headers))
        if "Content-Type" not in final.headers:
            del plain.headers["Content-Type"]
        plain.cookies = final.cookies
        return plain


@cache
def _made(kinds: tuple[Callable[[], Any], ...]) -> tuple[Any, ...]:
    return tuple(kind() for kind in kinds)


# --- Errors ----------------------------------------------------------------------------------------------------------


def exception_handler(exc: Exception, context: Mapping[str, Any]) -> Response:
    """Answer any exception with the platform's envelope; the unknown ones are logged."""
    request = context.get("request")
    error = as_error(exc)
    if error is None:
        logger.error("Unhandled error in request %s", request_id_of(request), exc_info=exc)
        error = SkillgateError(_BROKEN)
    access.note(error=error.type, reason=error.details.get("reason"))
    data = error.envelope(request_id=request_id_of(request))
    response = Response(data, status=error.status, headers=error.headers)
    response.exception = True
    return response


async def not_found(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
    """Answer 404: the last route under the API's prefixes, so that it holds in debug mode too."""
    return envelope_response(error_for(HTTPStatus.NOT_FOUND), request_id=request_id_of(request))


def handler400(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer what Django found malformed."""
    return _answer(request, HTTPStatus.BAD_REQUEST) or defaults.bad_request(request, exception)


def handler403(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer what Django did not permit."""
    return _answer(request, HTTPStatus.FORBIDDEN) or defaults.permission_denied(request, exception)


def handler404(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer what no route matches."""
    return _answer(request, HTTPStatus.NOT_FOUND) or defaults.page_not_found(request, exception)


def handler500(request: HttpRequest) -> HttpResponse:
    """Answer what broke outside of any view of ours."""
    if not is_api(request.path_info):
        return defaults.server_error(request)
    error = SkillgateError(_BROKEN)
    return envelope_response(error, request_id=request_id_of(request))


def _answer(request: HttpRequest, status: int) -> HttpResponse | None:
    if not is_api(request.path_info):
        return None
    return envelope_response(error_for(status), request_id=request_id_of(request))
