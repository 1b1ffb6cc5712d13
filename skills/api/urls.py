"""The skill endpoints' URLs, below /v1/."""

from django.urls import path

from skills.api import analyses, batches, messages, streams, tickets, views, webhooks

urlpatterns = [
    path("skills", views.SkillsView.as_view()),
    path("skills/<str:name>", views.SkillView.as_view()),
    path("skills/<str:name>/stream", streams.SkillStreamView.as_view()),
    path("streams/<str:run_id>", streams.StreamView.as_view()),
    path("tickets", tickets.TicketsView.as_view()),
    path("completions", views.CompletionsView.as_view()),
    path("messages", messages.MessagesView.as_view()),
    path("messages/count_tokens", messages.CountTokensView.as_view()),
    path("analyses", analyses.AnalysesView.as_view()),
    path("analyses/<str:analysis_id>", analyses.AnalysisView.as_view()),
    path("analyses/<str:analysis_id>/events", analyses.EventsView.as_view()),
    path("analyses/<str:analysis_id>/result", analyses.ResultView.as_view()),
    path("analyses/<str:analysis_id>/cancel", analyses.CancelView.as_view()),
    path("analyses/<str:analysis_id>/resume", analyses.ResumeView.as_view()),
    path("batches", batches.BatchesView.as_view()),
    path("batches/<str:batch_id>", batches.BatchView.as_view()),
    path("batches/<str:batch_id>/events", batches.BatchEventsView.as_view()),
    path("batches/<str:batch_id>/results", batches.ResultsView.as_view()),
    path("batches/<str:batch_id>/cancel", batches.CancelBatchView.as_view()),
    path("batches/<str:batch_id>/resume", batches.ResumeBatchView.as_view()),
    path("webhooks", webhooks.EndpointsView.as_view()),
    path("webhooks/<str:endpoint_id>", webhooks.EndpointView.as_view()),
    path("webhooks/<str:endpoint_id>/rotate", webhooks.RotateView.as_view()),
    path("webhooks/deliveries/<str:delivery_id>/redeliver", webhooks.RedeliverView.as_view()),
    path("models", messages.ModelsView.as_view()),
    path("models/<str:model_id>", messages.ModelView.as_view()),
]
