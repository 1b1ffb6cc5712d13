"""JSON on the wire: how bodies are parsed, answers written, media types agreed on and errors translated.

DRF imports from here while it is being imported itself, so nothing here may import `rest_framework.views`.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

import orjson
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.http import Http404, HttpResponse
from django.http.response import HttpResponseBase, ResponseHeaders
from django.utils.http import parse_header_parameters
from rest_framework import exceptions
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request

from kit import errors, strict_json
from kit.errors import SkillgateError

JSON = "application/json"
_LONGEST_KNOWN_HEADER = 200
_ZERO_QUALITY = re.compile(r"q\s*=\s*0(\.0*)?")

_BY_STATUS: dict[int, tuple[type[SkillgateError], str]] = {
    400: (errors.InvalidRequest, "The request is malformed."),
    403: (errors.NotAllowed, "This is not allowed."),
    404: (errors.NotFound, "There is nothing here."),
    405: (errors.MethodNotAllowed, "This method is not allowed here; see the Allow header."),
    406: (errors.NotAcceptable, "None of the media types in the Accept header can be produced here."),
    413: (errors.RequestTooLarge, "The request body is too large."),
    415: (errors.UnsupportedMediaType, "The body must be sent as `Content-Type: application/json` in UTF-8."),
}


# --- In and out ------------------------------------------------------------------------------------------------------


class StrictJSONParser(BaseParser):
    """Parses `application/json` in UTF-8 by the rules of `kit.strict_json`; a view says how large a body may be."""

    media_type = JSON

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> Any:
        """Read the body and return what it says."""
        if media_type != JSON and _parameter(media_type, "charset") not in {"", "utf-8", "utf8"}:
            raise error_for(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        view = (parser_context or {})["view"]
        raw = stream.read(view.max_body_bytes + 1)
        return strict_json.loads(raw, max_bytes=view.max_body_bytes, max_keys=view.max_body_keys)


class StrictJSONRenderer(JSONRenderer):
    """Writes UTF-8; refuses NaN; a lone surrogate, which upstream may send, becomes a question mark."""

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Mapping[str, Any] | None = None
    ) -> bytes:
        """Write `data` as JSON."""
        return encode(data)


def encode(data: Any) -> bytes:
    """Write JSON as it leaves: `StrictJSONRenderer` without a view."""
    return _ENCODER.encode(data).encode("utf-8", "replace")


_ENCODER = JSONRenderer.encoder_class(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_AS_DJANGOS = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS


def _plain(data: Any) -> bytes:
    """Write what came as JSON, in which there is no NaN: in a tenth of the time, unless it has an odd text or number."""
    try:
        return orjson.dumps(data, default=_ENCODER.default, option=_AS_DJANGOS)
    except TypeError:
        return encode(data)


class Plain:
    """What answers with headers of our own making have in common: Django's way is made for what strangers put into them.

    A server checks them once more for line breaks.
    """

    _charset = None
    _reason_phrase = None
    _handler_class = None
    closed = False
    cookies: Any = MappingProxyType({})  # none of them sets one
    headers: Any

    def __init__(self, *, status: int, headers: Mapping[str, str]) -> None:
        """Put together what Django's constructor would."""
        self.status_code = status
        self._resource_closers: list[Any] = []
        self.headers = ResponseHeaders.__new__(ResponseHeaders)
        self.headers._store = {name.lower(): (name, value) for name, value in headers.items()}  # noqa: SLF001 - as in `put`


class JSONAnswer(Plain, HttpResponse):
    """JSON, and what goes with it."""

    def __init__(self, data: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        """Write `data` as JSON."""
        super().__init__(status=status, headers={"Content-Type": JSON, **(headers or {})})
        self._container = [_plain(data)]


def put(response: HttpResponseBase, name: str, value: str) -> None:
    """Set a header whose name and value are ours and plain."""
    headers: Any = response.headers
    headers._store[name.lower()] = (name, value)  # noqa: SLF001 - setting it the public way converts it four times


class Negotiation(BaseContentNegotiation):
    """Refuses a client that will not take what a view produces; whatever else it says, it gets JSON."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        """Return the parser whose media type the request names."""
        named = request.content_type.partition(";")[0].strip().lower()
        return next((parser for parser in parsers if parser.media_type == named), None)

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        """Return the renderer to use, or refuse.

        A view that names what it `produces` has one renderer, for what is not a stream; any other is asked for a match.
        """
        header = request.META.get("HTTP_ACCEPT", "").lower()
        produces = getattr((request.parser_context or {}).get("view"), "produces", ())
        if not header or _accepts_any(header, produces):
            return renderers[0], renderers[0].media_type
        found = next((one for one in renderers if not produces and _accepts(header, one.media_type.lower())), None)
        if found is None:
            raise error_for(HTTPStatus.NOT_ACCEPTABLE)
        return found, found.media_type


# --- Errors -----------------------------------------------------------------------------------------------------------


def as_error(exc: Exception) -> SkillgateError | None:
    """Translate what Django and DRF raise into the platform's family; None for what is no refusal."""
    if isinstance(exc, SkillgateError):
        return exc
    if isinstance(exc, exceptions.APIException):
        return _from_drf(exc)
    if isinstance(exc, Http404):
        return error_for(HTTPStatus.NOT_FOUND)
    if isinstance(exc, PermissionDenied):
        return error_for(HTTPStatus.FORBIDDEN)
    if isinstance(exc, RequestDataTooBig):
        return error_for(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    return error_for(HTTPStatus.BAD_REQUEST) if isinstance(exc, SuspiciousOperation) else None


def _from_drf(exc: exceptions.APIException) -> SkillgateError | None:
    if isinstance(exc, exceptions.AuthenticationFailed | exceptions.NotAuthenticated):
        return errors.AuthenticationFailed()
    if isinstance(exc, exceptions.Throttled):
        return errors.RateLimited(
            "Too many requests. Wait before the next.", retry_after=int(getattr(exc, "wait", None) or 1)
        )
    if isinstance(exc, exceptions.ValidationError):
        return errors.InvalidRequest("The request does not fit the schema.", errors=exc.detail)
    return error_for(exc.status_code) if exc.status_code in _BY_STATUS else None


def error_for(status: int) -> SkillgateError:
    """Return the platform's error for a status, in its usual words."""
    kind, message = _BY_STATUS[status]
    return kind(message)


# --- Headers ----------------------------------------------------------------------------------------------------------


def _parameter(media_type: str | None, name: str) -> str:
    try:
        _, parameters = parse_header_parameters(media_type or "")
    except ValueError:
        return "unreadable"
    value = parameters.get(name, "")
    return value.lower() if isinstance(value, str) else "unreadable"


def _accepts_any(header: str, media_types: tuple[str, ...]) -> bool:
    """Say whether one of the types may be sent; clients send the same few headers again and again."""
    if len(header) > _LONGEST_KNOWN_HEADER:
        return any(_accepts(header, media_type) for media_type in media_types)
    return _known_to_accept(header, media_types)


@lru_cache(maxsize=256)
def _known_to_accept(header: str, media_types: tuple[str, ...]) -> bool:
    return any(_accepts(header, media_type) for media_type in media_types)


def _accepts(header: str, media_type: str) -> bool:
    """The most specific range decides; one that cannot be read accepts nothing; `q=0` refuses."""
    ranges: dict[str, bool] = {}
    for part in header.split(","):
        accepted, *parameters = (piece.strip() for piece in part.split(";"))
        ranges[accepted] = not any(_ZERO_QUALITY.fullmatch(piece) for piece in parameters)
    candidates = (media_type, f"{media_type.partition('/')[0]}/*", "*/*", "*")
    return next((ranges[candidate] for candidate in candidates if candidate in ranges), False)
