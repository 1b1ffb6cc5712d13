"""Who works here: roles, invitations, and leaving."""

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect

from console import mails, scope
from console.forms import ConsoleForm, posted
from console.pages import page, render
from kit import clock
from tenants import invitations, memberships
from tenants.access import TABLE
from tenants.api.callers import address
from tenants.models import Invitation, Membership

HOME = "admin:colleagues"


class RoleForm(ConsoleForm):
    """What someone is."""

    role = forms.ChoiceField(choices=Membership.Role.choices, initial=Membership.Role.VIEWER)


class InviteForm(RoleForm):
    """Someone new."""

    email = forms.EmailField(label="Mail address")
    field_order = ("email", "role")


@page("colleagues/", name="colleagues", right="colleagues.see")
def colleagues(request: HttpRequest) -> HttpResponseBase:
    """List the tenant's people, the open invitations, and what each role may do."""
    roles = Membership.Role
    return render(
        request,
        "console/colleagues.html",
        title="Colleagues",
        members=scope.rows(Membership, request).select_related("user").order_by("user__username"),
        invited=scope.rows(Invitation, request)
        .filter(accepted_at=None, withdrawn_at=None, expires_at__gt=clock.now())
        .order_by("email"),
        roles=roles.labels,
        table=[(right, [role in allowed for role in roles]) for right, allowed in TABLE.items()],
    )


@page("colleagues/invite/", name="invite", right="colleagues.change")
def invite(request: HttpRequest) -> HttpResponseBase:
    """Invite someone by mail."""
    form = InviteForm(posted(request))
    if request.method == "POST" and form.is_valid():
        given, by = form.cleaned_data, scope.member(request)
        invited = form.attempt(
            lambda: invitations.invite(
                given["email"], role=given["role"], by=by, now=clock.now(), address=address(request)
            )
        )
        if invited is not None:
            mails.send_invitation(invited)
            messages.success(request, f"{invited.invitation.email} gets a link that is good for three days.")
            return redirect(HOME)
    return _form(request, form, title="Invite a colleague", submit_label="Invite")


@page("colleagues/invitations/<int:pk>/withdraw/", name="invitation_withdraw", right="colleagues.change")
def withdraw(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Make an invitation's link useless."""
    invitation = get_object_or_404(scope.rows(Invitation, request).select_related("tenant"), pk=pk)
    form = ConsoleForm(posted(request))
    if request.method == "POST" and form.is_valid():
        by, now = scope.member(request), clock.now()
        form.attempt(lambda: invitations.withdraw(invitation, by=by, now=now, address=address(request)))
        if form.is_valid():
            return redirect(HOME)
    return _form(request, form, title=f"Withdraw the invitation of {invitation.email}", submit_label="Withdraw")


@page("colleagues/<int:pk>/role/", name="member_role", right="colleagues.change")
def role(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Change what a colleague is."""
    membership = _membership(request, pk)
    form = RoleForm(posted(request), initial={"role": membership.role})
    if request.method == "POST" and form.is_valid():
        wanted, by = form.cleaned_data["role"], scope.member(request)
        form.attempt(lambda: memberships.change_role(membership, role=wanted, by=by, address=address(request)))
        if form.is_valid():
            messages.success(request, f"{membership.user.username} is {wanted} now.")
            return redirect(HOME)
    return _form(request, form, title=f"Role of {membership.user.username}", submit_label="Save")


@page("colleagues/<int:pk>/remove/", name="member_remove", right="colleagues.change")
def remove(request: HttpRequest, pk: int) -> HttpResponseBase:
    """End a colleague's access."""
    membership = _membership(request, pk)
    form = ConsoleForm(posted(request))
    if request.method == "POST" and form.is_valid():
        by = scope.member(request)
        form.attempt(lambda: memberships.remove(membership, by=by, address=address(request)))
        if form.is_valid():
            return redirect(HOME)
    return _form(request, form, title=f"Remove {membership.user.username}", submit_label="Remove", is_danger=True)


def _form(request: HttpRequest, form: ConsoleForm, **context: Any) -> HttpResponseBase:
    return render(request, "console/form.html", form=form, back=redirect(HOME).url, **context)


def _membership(request: HttpRequest, pk: int) -> Membership:
    return get_object_or_404(scope.rows(Membership, request).select_related("user", "tenant"), pk=pk)
