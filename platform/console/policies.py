"""The Content-Security-Policy of every page; what the admin's own scripts need beyond it, they get there alone."""

from typing import Any

from csp.constants import SELF, UNSAFE_EVAL, UNSAFE_INLINE
from csp.middleware import CSPMiddleware, PolicyParts
from django.http import HttpRequest, HttpResponseBase

ADMIN_PATHS = ("/admin/", "/ops/")
_ADMIN = {
    # Alpine evaluates the expressions in its attributes; the theme's colours are an inline style.
    "script-src": [SELF, UNSAFE_EVAL],
    "style-src": [SELF, UNSAFE_INLINE],
}


class ContentPolicies(CSPMiddleware):
    """The policy of the settings, with the admin's exceptions on the admin's paths."""

    def get_policy_parts(
        self,
        request: HttpRequest,
        response: HttpResponseBase,
        report_only: bool = False,  # noqa: FBT001, FBT002 - the signature of django-csp
    ) -> PolicyParts:
        """Return what the policy of a response is made of."""
        parts: Any = super().get_policy_parts(request, response, report_only)
        if request.path_info.startswith(ADMIN_PATHS) and not report_only:
            parts.replace = {**(parts.replace or {}), **_ADMIN}
        if request.path_info == "/docs" and not report_only:
            parts.replace = {**(parts.replace or {}), "style-src": [SELF, UNSAFE_INLINE]}
        return parts  # type: ignore[no-any-return]  # django-csp is typed, its base class is not
