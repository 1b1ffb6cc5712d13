"""The skill endpoints' URLs, below /v1/."""

from django.urls import path

from skills.api import messages, streams, tickets, views

urlpatterns = [
    path("skills", views.SkillsView.as_view()),
    path("skills/<str:name>", views.SkillView.as_view()),
    path("skills/<str:name>/stream", streams.SkillStreamView.as_view()),
    path("streams/<str:run_id>", streams.StreamView.as_view()),
    path("tickets", tickets.TicketsView.as_view()),
    path("completions", views.CompletionsView.as_view()),
    path("messages", messages.MessagesView.as_view()),
    path("messages/count_tokens", messages.CountTokensView.as_view()),
    path("models", messages.ModelsView.as_view()),
    path("models/<str:model_id>", messages.ModelView.as_view()),
]
