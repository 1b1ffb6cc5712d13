"""Webhook endpoints with their log: rotating secrets, sending again, switching off and on."""

from datetime import timedelta
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.debug import sensitive_variables

from console import navigation, scope
from console.forms import ConsoleForm, posted
from console.pages import page, render
from kit import clock, ids
from skills.webhooks import steering
from skills.webhooks.models import WebhookDelivery, WebhookEndpoint

HOME = "admin:webhooks"
DETAIL = "admin:webhook"
_MOST = 100
navigation.add("Work", title="Webhooks", icon="webhook", name="webhooks", right="webhooks.see")


class RotateForm(ConsoleForm):
    """For how long the old secret signs too."""

    hours = forms.IntegerField(
        min_value=0,
        max_value=24,
        initial=24,
        label="Hours",
        help_text="Messages are signed with both secrets meanwhile.",
    )


@page("webhooks/", name="webhooks", right="webhooks.see")
def overview(request: HttpRequest) -> HttpResponseBase:
    """Show where the tenant is told."""
    found = scope.rows(WebhookEndpoint, request).order_by("-id")[:_MOST]
    return render(request, "console/analyses/webhooks.html", title="Webhooks", endpoints=found)


@page("webhooks/<uuid:pk>/", name="webhook", right="webhooks.see")
def detail(request: HttpRequest, pk: UUID) -> HttpResponseBase:
    """Show what an endpoint was told, with every attempt."""
    endpoint = _endpoint(request, pk)
    sent = scope.rows(WebhookDelivery, request).filter(endpoint=endpoint).order_by("-created_at", "-id")[:_MOST]
    return render(
        request,
        "console/analyses/webhook.html",
        title=f"Webhook to {endpoint.url}",
        endpoint=endpoint,
        public_id=ids.encode(steering.ENDPOINT, endpoint.pk),
        deliveries=[{"row": one, "public_id": ids.encode(steering.DELIVERY, one.pk)} for one in sent],
        may_change=scope.may(request, "webhooks.change"),
    )


@page("webhooks/<uuid:pk>/rotate/", name="webhook_rotate", right="webhooks.change")
def rotate(request: HttpRequest, pk: UUID) -> HttpResponseBase:
    """Give an endpoint a new secret and show it, this once."""
    endpoint = _endpoint(request, pk)
    form = RotateForm(posted(request))
    if request.method == "POST" and form.is_valid():
        overlap = timedelta(hours=form.cleaned_data["hours"])
        secret = steering.rotate(endpoint, overlap=overlap, now=clock.now(), **scope.by(request))
        return _shown_once(request, endpoint, secret)
    return _form(request, endpoint, form, title="New secret", submit_label="Make a new secret")


@page("webhooks/<uuid:pk>/switch/", name="webhook_switch", right="webhooks.change")
def switch(request: HttpRequest, pk: UUID) -> HttpResponseBase:
    """Stop all messages to an endpoint, or let them go again."""
    endpoint = _endpoint(request, pk)
    form = ConsoleForm(posted(request))
    if request.method == "POST" and form.is_valid():
        steering.switch(endpoint, is_active=not endpoint.is_active, **scope.by(request))
        messages.success(request, "Messages go there again." if endpoint.is_active else "No more messages go there.")
        return redirect(DETAIL, pk)
    label = "Switch off" if endpoint.is_active else "Switch on"
    return _form(request, endpoint, form, title=label, submit_label=label)


@page("webhooks/deliveries/<uuid:pk>/redeliver/", name="webhook_redeliver", right="webhooks.change")
def redeliver(request: HttpRequest, pk: UUID) -> HttpResponseBase:
    """Have a message sent again."""
    delivery = get_object_or_404(scope.rows(WebhookDelivery, request).select_related("endpoint__tenant"), pk=pk)
    form = ConsoleForm(posted(request))
    if request.method == "POST" and form.is_valid():
        steering.redeliver(delivery, now=clock.now(), **scope.by(request))
        messages.success(request, "It is sent again within seconds.")
        return redirect(DETAIL, delivery.endpoint_id)
    return _form(request, delivery.endpoint, form, title="Send again", submit_label="Send again")


def _form(
    request: HttpRequest, endpoint: WebhookEndpoint, form: ConsoleForm, *, title: str, submit_label: str
) -> HttpResponseBase:
    back = redirect(DETAIL, endpoint.pk).url
    return render(
        request, "console/form.html", title=title, intro=endpoint.url, form=form, submit_label=submit_label, back=back
    )


@sensitive_variables("secret")
def _shown_once(request: HttpRequest, endpoint: WebhookEndpoint, secret: str) -> HttpResponseBase:
    return render(
        request, "console/analyses/secret.html", title="Copy the secret now", endpoint=endpoint, secret=secret
    )


def _endpoint(request: HttpRequest, pk: UUID) -> WebhookEndpoint:
    return get_object_or_404(scope.rows(WebhookEndpoint, request).select_related("tenant"), pk=pk)
