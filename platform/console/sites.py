"""The two admin sites: `/admin/` for the people of a tenant, `/ops/` for operators. Deny by default, in both."""

from collections.abc import Callable
from functools import wraps
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils import timezone

from console import account, pages, scope, walls
from console.theme import AdminSite

View = Callable[..., Any]
# About the person alone, so without a tenant's wall; each looks only at the person who is signed in.
_OWN_ACCOUNT = {"logout", "password_change", "password_change_done", "second_factor"}
# `view_on_site` tells which ids of any model exist; `search` and `autocomplete` would be doors of their own.
_NEVER = {"view_on_site", "search", "autocomplete"}


class ConsoleSite(AdminSite):
    """What both sites have in common: pages about one's own account, and no door that nobody needs."""

    site_title = "Skillgate"
    index_title = "Overview"
    enable_nav_sidebar = True
    login_template = "console/login.html"
    logout_template = "console/signed_out.html"

    def get_urls(self) -> list[URLPattern | URLResolver]:
        """Return the site's addresses."""
        found = [url for url in super().get_urls() if getattr(url, "name", None) not in _NEVER]
        return [
            path("second-factor/", self.admin_view(self.second_factor), name="second_factor"),
            path("search/", self.admin_view(self.search), name="search"),
            *found,
        ]

    def admin_view(self, view: View, cacheable: bool = False) -> Any:  # noqa: FBT001, FBT002 - Django's signature
        """Wrap every view of the site: permission first, then what the site puts around it."""
        return super().admin_view(self._framed(view), cacheable)

    def get_model_admins(self) -> list[Any]:
        """Return what is registered here."""
        return list(self._registry.values())

    def each_context(self, request: Any) -> dict[str, Any]:
        """Return what every page of the site shows, the pages before signing in included."""
        request.console_site, request.current_app = self, self.name
        return super().each_context(request)

    def search(self, request: HttpRequest, extra_context: Any = None) -> HttpResponseBase:
        """Find nothing: Unfold's templates want the address, and nobody needs what was behind it."""
        raise Http404

    def second_factor(self, request: HttpRequest) -> HttpResponseBase:
        """Let people set up, or take down, their second factor."""
        return account.second_factor(request)

    def _framed(self, view: View) -> View:
        @wraps(view)
        def framed(request: Any, *args: Any, **kwargs: Any) -> Any:
            request.console_site, request.current_app = self, self.name
            return self.frame(view, request, *args, **kwargs)

        return framed

    def frame(self, view: View, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Answer a request that is permitted."""
        return view(request, *args, **kwargs)


class TenantSite(ConsoleSite):
    """One's own tenant, and nothing that tells of another."""

    settings_name = "UNFOLD"

    def has_permission(self, request: HttpRequest) -> bool:
        """Let in the members of a tenant."""
        return scope.access_of(request) is not None

    def get_urls(self) -> list[URLPattern | URLResolver]:
        """Return the site's addresses: what strangers may see, the pages, the models."""
        views = [path(page.path, self.admin_view(page.view), name=page.name) for page in pages.declared()]
        return [*account.public_urls(), *views, *super().get_urls()]

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Show the overview."""
        from console.dashboard import tenant  # noqa: PLC0415 - it needs the site's pages, which need the site

        return tenant.show(request)

    def frame(self, view: View, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Answer from behind the wall, rendering included: templates ask the database too."""
        found = scope.access_of(request)
        if found is None or view.__name__ in _OWN_ACCOUNT:
            return super().frame(view, request, *args, **kwargs)
        with timezone.override(ZoneInfo(found.tenant.timezone)), walls.within(found.tenant.pk):
            response = super().frame(view, request, *args, **kwargs)
            return response.render() if hasattr(response, "render") else response


class OpsSite(ConsoleSite):
    """All tenants, for operators; with their second factor where the platform demands one."""

    settings_name = "UNFOLD_OPS"

    def has_permission(self, request: Any) -> bool:
        """Let in operators."""
        return bool(request.user.is_active and request.user.is_superuser)

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Show how the platform stands."""
        from console.dashboard import operators  # noqa: PLC0415 - it needs the site's pages, which need the site

        return operators.show(request)

    def get_urls(self) -> list[URLPattern | URLResolver]:
        """Return the site's addresses: the pages, then the models."""
        views = [path(page.path, self.admin_view(page.view), name=page.name) for page in pages.declared_for_operators()]
        return [*views, *super().get_urls()]

    def frame(self, view: View, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Send operators without a verified second factor to set one up, and nowhere else."""
        if settings.OPERATORS_NEED_TOTP and not request.user.is_verified() and view.__name__ not in _OWN_ACCOUNT:
            return HttpResponseRedirect(reverse("ops:second_factor"))
        return super().frame(view, request, *args, **kwargs)


tenant_site = TenantSite(name="admin")
ops_site = OpsSite(name="ops")
