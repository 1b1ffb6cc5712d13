"""Limits and budgets: how they stand, setting them, raising them for a time, and trying them on what has been."""

from typing import Any
from zoneinfo import ZoneInfo

from django.contrib import messages
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect

from console import scope
from console.budgets import burndown
from console.budgets.forms import BudgetForm, IncreaseForm
from console.forms import ConsoleForm, posted
from console.pages import page, render
from kit import clock
from tenants import budgets
from tenants.models import ApiKey, Budget, BudgetIncrease
from usage import replays, standings

HOME = "admin:budgets"
_MOST_KEYS = 500


@page("budgets/", name="budgets", right="budgets.see")
def overview(request: HttpRequest) -> HttpResponseBase:
    """Show the tenant's budgets, the month burning down, and what was added for a time."""
    tenant, now = scope.member(request).tenant, clock.now()
    found = standings.of_tenant(tenant.pk)
    monthly = next((one for one in found if not one.skill and one.window == "month"), None)
    chart = None
    if monthly is not None and monthly.limit_tokens:
        chart = burndown.draw(
            standings.by_day(tenant.pk, month=monthly.period),
            limit=monthly.limit_tokens,
            month=monthly.period,
            today=now.astimezone(ZoneInfo(tenant.timezone)).date(),
            used=monthly.tokens,
        )
    increases = scope.rows(BudgetIncrease, request).filter(ends_at__gt=now).select_related("budget__key")
    return render(
        request,
        "console/budgets/overview.html",
        title="Limits and budgets",
        standings=found,
        chart=chart,
        increases=increases.order_by("ends_at")[:50],
        may_change=scope.may(request, "budgets.change"),
    )


@page("budgets/set/", name="budget_set", right="budgets.change")
def set_budget(request: HttpRequest) -> HttpResponseBase:
    """Make or replace a budget, or say what it would have blocked."""
    form = BudgetForm(posted(request), keys=_keys(request), skills=scope.skills(request), initial=_initial(request))
    replay = None
    if request.method == "POST" and form.is_valid():
        if "try" in request.POST:
            replay = _replay(request, form)
        elif _save(request, form) is not None:
            messages.success(request, "Saved. It counts from the next call on.")
            return redirect(HOME)
    return render(
        request,
        "console/form.html",
        title="Set a budget",
        form=form,
        submit_label="Save",
        back=redirect(HOME).url,
        can_try=True,
        replay=replay,
    )


@page("budgets/<int:pk>/increase/", name="budget_increase", right="budgets.change")
def increase(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Raise a budget until a date."""
    budget = _budget(request, pk)
    form = IncreaseForm(posted(request))
    if request.method == "POST" and form.is_valid():
        wanted = {**form.cleaned_data, "extra_tokens": form.cleaned_data["extra_tokens"] or 0}
        wanted["extra_micros"] = wanted["extra_micros"] or 0
        by = scope.member(request).user
        form.attempt(lambda: budgets.increase(budget, now=clock.now(), created_by=by, **wanted, **scope.by(request)))
        if form.is_valid():
            messages.success(request, "Raised. It counts from the next call on.")
            return redirect(HOME)
    return render(
        request, "console/form.html", title=f"Raise {budget}", form=form, submit_label="Raise", back=redirect(HOME).url
    )


@page("budgets/<int:pk>/remove/", name="budget_remove", right="budgets.change")
def remove(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Remove an optional budget."""
    budget = _budget(request, pk)
    form = ConsoleForm(posted(request))
    if request.method == "POST" and form.is_valid():
        form.attempt(lambda: budgets.remove(budget, now=clock.now(), **scope.by(request)))
        if form.is_valid():
            messages.success(request, "Removed.")
            return redirect(HOME)
    return render(
        request,
        "console/form.html",
        title=f"Remove {budget}",
        intro="What it limited is limited by the other budgets only, from the next call on.",
        form=form,
        submit_label="Remove",
        back=redirect(HOME).url,
        is_danger=True,
    )


def _save(request: HttpRequest, form: BudgetForm) -> Budget | None:
    given = form.cleaned_data
    return form.attempt(
        lambda: budgets.set_budget(
            scope.member(request).tenant,
            now=clock.now(),
            key=form.chosen_key,
            skill=given["skill"],
            window=given["window"],
            limit_tokens=given["limit_tokens"],
            limit_micros=given["limit_micros"],
            thresholds=given["thresholds"],
            alert_recipients=given["alert_recipients"],
            **scope.by(request),
        )
    )


def _replay(request: HttpRequest, form: BudgetForm) -> replays.Replay:
    key, given = form.chosen_key, form.cleaned_data
    proposal = replays.Proposal(
        limit_tokens=given["limit_tokens"], limit_micros=given["limit_micros"], window=given["window"]
    )
    return replays.replay(
        scope.member(request).tenant.pk,
        proposal=proposal,
        now=clock.now(),
        family_id=(key.family_id or key.pk) if key else None,
        skill=given["skill"],
    )


def _initial(request: HttpRequest) -> dict[str, Any]:
    """What the link asked for: a budget there is, or one to be made for a key."""
    given = request.GET.get("budget", "")
    found = scope.rows(Budget, request).filter(pk=int(given)).first() if given.isdecimal() else None
    if found is None:
        return {"key": request.GET.get("key", ""), "window": "month"}
    names = ("skill", "window", "limit_tokens", "limit_micros", "alert_recipients")
    return {name: getattr(found, name) for name in names} | {
        "key": found.key_id or "",
        "thresholds": ", ".join(str(percent) for percent in found.thresholds),
    }


def _budget(request: HttpRequest, pk: int) -> Budget:
    return get_object_or_404(scope.rows(Budget, request).select_related("tenant", "key"), pk=pk)


def _keys(request: HttpRequest) -> list[ApiKey]:
    """The first key of each family, which is where its budget hangs."""
    return list(scope.rows(ApiKey, request).filter(family=None).order_by("name", "pk")[:_MOST_KEYS])
