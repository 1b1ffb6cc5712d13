"""Django's handler for API paths: none of the middleware that only pages need, and so no thread on the way."""

from typing import Any

from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.exception import convert_exception_to_response

from kit.middleware import request_ids


class ApiHandler(ASGIHandler):
    """Request ids around the view, and nothing else: sessions, CSRF and messages belong to pages."""

    def load_middleware(self, is_async: bool = False) -> None:  # noqa: FBT001, FBT002 - Django's signature
        """This function will build the chain; Django's own would hop to a thread for each of eight classes."""
        self._view_middleware: list[Any] = []
        self._template_response_middleware: list[Any] = []
        self._exception_middleware: list[Any] = []
        inner: Any = self  # the stubs leave out what is called next
        respond = convert_exception_to_response(inner._get_response_async)  # noqa: SLF001 - Django's own chain ends there
        self._middleware_chain = convert_exception_to_response(request_ids(respond))
