"""Django's request for API paths: the same, read in fewer steps.

A client sends a dozen headers of which a view reads three, and clients send the same ones again and again.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.http.request import HttpHeaders


class ApiRequest(ASGIRequest):
    """One request; `headers` looks up what it is asked for."""

    def __init__(self, scope: Mapping[str, Any], body: Any) -> None:
        """Take the request in, as Django's does; raises `UnicodeDecodeError` for a query that is not UTF-8."""
        self.scope = scope
        self.request_id = ""
        self._post_parse_error = False
        self._read_started = False
        self._stream = body
        self.resolver_match = None
        self.path = scope["path"]
        self.script_name = scope.get("root_path", "")
        self.path_info = self.path.removeprefix(self.script_name) if self.script_name else self.path
        self.method = scope["method"].upper()
        self.META = meta = self._meta(scope)
        if meta.get("CONTENT_TYPE") == "application/json":  # Django's way would parse a few constants anew each time
            self.content_type, self.content_params = "application/json", {}
        else:
            django: Any = self  # the stubs leave it out
            django._set_content_type_params(meta)  # noqa: SLF001 - as above

    @property
    def headers(self) -> Any:
        """The headers by their own names."""
        return Headers(self.META)

    def _meta(self, scope: Mapping[str, Any]) -> dict[str, Any]:
        host, port = scope.get("server") or ("unknown", 0)
        meta: dict[str, Any] = {
            "REQUEST_METHOD": self.method,
            "QUERY_STRING": scope.get("query_string", b"").decode(),
            "SCRIPT_NAME": self.script_name,
            "PATH_INFO": self.path_info,
            "SERVER_NAME": host,
            "SERVER_PORT": str(port),
        }
        if client := scope.get("client"):
            meta["REMOTE_ADDR"] = meta["REMOTE_HOST"] = client[0]
            meta["REMOTE_PORT"] = client[1]
        for raw, value in scope.get("headers", ()):
            if name := _name_of(raw):
                said = value.decode("latin1")
                meta[name] = f"{meta[name]},{said}" if name in meta else said
        return meta


class Headers(Mapping[str, str]):
    """A request's headers where they are; Django's own would copy all of them to look up one."""

    __slots__ = ("_meta",)

    def __init__(self, meta: Mapping[str, Any]) -> None:
        self._meta = meta

    def __getitem__(self, name: str) -> str:
        """Return a header's value; raises `KeyError`."""
        return str(self._meta[_key_of(name)])

    def get(self, name: str, default: Any = None) -> Any:
        """Return a header's value, or the default."""
        return self._meta.get(_key_of(name), default)

    def __iter__(self) -> Iterator[str]:
        """Name the headers."""
        return iter(HttpHeaders(self._meta))

    def __len__(self) -> int:
        """Count them."""
        return len(HttpHeaders(self._meta))


@lru_cache(maxsize=512)
def _name_of(raw: bytes) -> str | None:
    """Return a header's name in META; none for one with an underscore, which could pass for another."""
    return None if b"_" in raw else HttpHeaders.to_wsgi_name(raw.decode("latin1"))


_key_of = lru_cache(maxsize=128)(HttpHeaders.to_wsgi_name)  # only names that stand in this code are looked up
