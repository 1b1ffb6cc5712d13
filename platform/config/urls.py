"""Every URL of the platform."""

from django.urls import URLPattern, URLResolver, include, path, re_path
from django.views.decorators.csrf import csrf_exempt
from drf_spectacular.views import SpectacularJSONAPIView, SpectacularSwaggerSplitView

from console import health, metrics, onboarding, ops_console, tenant_console
from kit.rest import not_found

urlpatterns: list[URLPattern | URLResolver] = [
    path("v1/", include("skills.api.urls")),
    path("v1/", include("usage.api.urls")),
    path("v1/openapi.json", SpectacularJSONAPIView.as_view(), name="openapi"),
    path("docs", SpectacularSwaggerSplitView.as_view(url_name="openapi"), name="docs"),
    path("llms.txt", onboarding.llms),
    path("health/live", health.LiveView.as_view()),
    path("health/ready", health.ReadyView.as_view()),
    path("health/deep", health.DeepView.as_view()),
    path("metrics", metrics.page),
    path("ops/", ops_console.site.urls),
    path("admin/", tenant_console.site.urls),
    re_path(r"^(?:v1|health)(?:/|$)", csrf_exempt(not_found)),
]
handler400 = "kit.rest.handler400"
handler403 = "kit.rest.handler403"
handler404 = "kit.rest.handler404"
handler500 = "kit.rest.handler500"
