"""Pages of the tenants' console that are no model's list or form: each declares its path, its name and its right.

A page is a function of the request (and of what its path holds) that returns a response; it runs
behind the wall, for its own tenant, and only for roles that have its right.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase
from django.template.response import TemplateResponse

from console import scope
from tenants.access import TABLE

View = Callable[..., HttpResponseBase]


@dataclass(frozen=True, slots=True)
class Page:
    """A declared page."""

    path: str
    name: str
    right: str
    view: View


_declared: dict[str, Page] = {}
_declared_for_operators: dict[str, Page] = {}


def page(path: str, *, name: str, right: str) -> Callable[[View], View]:
    """Declare a page of `/admin/`; `right` is one of `tenants.access.TABLE`."""
    if right not in TABLE:
        raise KeyError(right)

    def declare(view: View) -> View:
        _declared[name] = Page(path, name, right, guarded(view, right=right))
        return view

    return declare


def ops_page(path: str, *, name: str) -> Callable[[View], View]:
    """Declare a page of `/ops/`, which operators alone can open."""

    def declare(view: View) -> View:
        _declared_for_operators[name] = Page(path, name, "", view)
        return view

    return declare


def declared() -> list[Page]:
    """Return every page of `/admin/`, in the order of declaration."""
    return list(_declared.values())


def declared_for_operators() -> list[Page]:
    """Return every page of `/ops/`, in the order of declaration."""
    return list(_declared_for_operators.values())


def guarded(view: View, *, right: str) -> View:
    """Wrap a view so that it runs for roles with a right only; the others get a 403."""

    @wraps(view)
    def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not scope.may(request, right):
            raise PermissionDenied
        return view(request, *args, **kwargs)

    return wrapper


def render(request: HttpRequest, template: str, *, title: str, status: int = 200, **context: Any) -> TemplateResponse:
    """Render a page in the console's frame."""
    site = site_of(request)
    return TemplateResponse(request, template, {**site.each_context(request), "title": title, **context}, status=status)


def site_of(request: Any) -> Any:
    """Return the admin site that a request is for; the site sets it around every view."""
    return request.console_site
