"""The usage endpoints' URLs, below /v1/."""

from django.urls import path

from usage.api import reports, views

urlpatterns = [
    path("key", views.KeyView.as_view()),
    path("usage", views.UsageView.as_view()),
    path("reports/<str:month>", reports.MonthView.as_view()),
    path("reports/<str:month>/<str:name>", reports.MonthFileView.as_view()),
]
