"""The skill endpoints' URLs, below /v1/."""

from django.urls import path

from skills.api import views

urlpatterns = [
    path("skills", views.SkillsView.as_view()),
    path("skills/<str:name>", views.SkillView.as_view()),
    path("completions", views.CompletionsView.as_view()),
]
