"""Unfold's classes as the type checker may know them: Unfold has no types, Django's own stand in for it there."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django.contrib.admin import AdminSite
    from django.contrib.admin import ModelAdmin as DjangoModelAdmin
    from django.contrib.admin.forms import AdminAuthenticationForm as AuthenticationForm
    from django.contrib.admin.views.main import ChangeList
    from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin

    ModelAdmin = DjangoModelAdmin[Any]
    UserAdmin = DjangoUserAdmin[Any]
else:
    from django.contrib.auth.admin import UserAdmin
    from unfold.admin import ModelAdmin
    from unfold.forms import AuthenticationForm
    from unfold.sites import UnfoldAdminSite as AdminSite
    from unfold.views import ChangeList

__all__ = ["AdminSite", "AuthenticationForm", "ChangeList", "ModelAdmin", "UserAdmin"]
