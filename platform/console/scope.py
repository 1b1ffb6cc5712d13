"""Which rows someone of a tenant may ever see: the one place that knows, and what it does not know is nothing."""

from collections.abc import Callable
from typing import Any, TypeVar

from django.core.exceptions import PermissionDenied
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest

from skills.models import Skill, SkillLabel, SkillLabelMove, SkillVersion
from tenants import access
from tenants.access import Access
from tenants.api.callers import address
from tenants.models import Tenant, User

Row = TypeVar("Row", bound=Model)

# Models whose rows belong to a tenant in another way than by a `tenant` of their own that is always set.
_SPECIAL: dict[type[Model], Callable[[int], Q]] = {
    Tenant: lambda tenant_id: Q(pk=tenant_id),
    User: lambda tenant_id: Q(memberships__tenant=tenant_id),
    Skill: lambda tenant_id: Q(tenant=None) | Q(tenant=tenant_id),
    SkillVersion: lambda tenant_id: Q(skill__tenant=None) | Q(skill__tenant=tenant_id),
    SkillLabel: lambda tenant_id: Q(tenant=None, skill__tenant=None) | Q(tenant=tenant_id) | Q(skill__tenant=tenant_id),
    SkillLabelMove: lambda tenant_id: (
        Q(tenant=None, skill__tenant=None) | Q(tenant=tenant_id) | Q(skill__tenant=tenant_id)
    ),
}


def access_of(request: Any) -> Access | None:
    """Return what the person behind a request may do for which tenant, looked up once a request."""
    if not hasattr(request, "console_access"):
        request.console_access = access.of(request.user)
    found: Access | None = request.console_access
    return found


def member(request: Any) -> Access:
    """Return what the person behind a permitted request may do."""
    found = access_of(request)
    if found is None:
        raise PermissionDenied
    return found


def by(request: Any) -> dict[str, Any]:
    """Return who acts and from where, as the domain's verbs take it."""
    return {"actor": member(request).user.username, "address": address(request)}


def skills(request: HttpRequest) -> list[str]:
    """Return the names of the skills that the tenant can call."""
    return sorted(set(rows(Skill, request).values_list("name", flat=True)))


def may(request: HttpRequest, right: str) -> bool:
    """Tell whether the person behind a request has a right of `tenants.access.TABLE`."""
    found = access_of(request)
    return found is not None and found.may(right)


def rows(model: type[Row], request: HttpRequest, queryset: QuerySet[Row] | None = None) -> QuerySet[Row]:
    """Return the rows of a model that belong to the tenant of the person behind a request."""
    found = access_of(request)
    everything: QuerySet[Row] = QuerySet(model) if queryset is None else queryset
    if found is None:
        return everything.none()
    if model in _SPECIAL:
        return everything.filter(_SPECIAL[model](found.tenant.pk))
    meta = everything.model._meta  # noqa: SLF001 - Django's public name for it
    if any(field.name == "tenant" for field in meta.fields):
        return everything.filter(tenant=found.tenant.pk)
    return everything.none()
