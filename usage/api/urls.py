"""The usage endpoints' URLs, below /v1/."""

from django.urls import path

from usage.api import views

urlpatterns = [
    path("key", views.KeyView.as_view()),
    path("usage", views.UsageView.as_view()),
]
