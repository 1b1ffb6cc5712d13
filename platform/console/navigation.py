"""What stands in the sidebar: only what the person's role may open."""

from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from console import pages, scope

Item = dict[str, Any]
Group = dict[str, Any]

# Group → title, icon, name of the address, right
_TENANT: dict[str, list[tuple[str, str, str, str]]] = {
    "": [
        ("Overview", "monitoring", "index", "overview.see"),
        ("Playground", "play_circle", "playground", "playground.use"),
    ],
    "Access": [
        ("Keys", "key", "tenants_apikey_changelist", "keys.see"),
        ("Limits and budgets", "speed", "budgets", "budgets.see"),
        ("Alerts", "notifications", "alerts", "budgets.see"),
    ],
    "Finance": [
        ("Reports", "payments", "finance", "reports.see"),
        ("Months", "event_available", "months", "reports.see"),
    ],
    "Tenant": [
        ("Colleagues", "group", "colleagues", "colleagues.see"),
        ("Settings", "tune", "settings", "settings.see"),
        ("Audit log", "history", "tenants_auditentry_changelist", "audit.see"),
    ],
}


def add(group: str, *, title: str, icon: str, name: str, right: str) -> None:
    """Put a page into a group of the tenants' sidebar."""
    _TENANT.setdefault(group, []).append((title, icon, name, right))


def of_tenant(request: HttpRequest) -> list[Group]:
    """Return the tenants' sidebar."""
    groups = [
        {"title": title or None, "separator": bool(title), "items": _permitted(request, items)}
        for title, items in _TENANT.items()
    ]
    return [group for group in groups if group["items"]]


def of_operators(request: Any) -> list[Group]:
    """Return the operators' sidebar: every model of their site."""
    found: dict[str, list[Item]] = {}
    for model_admin in pages.site_of(request).get_model_admins():
        meta = model_admin.opts
        link = reverse(f"ops:{meta.app_label}_{meta.model_name}_changelist")
        found.setdefault(meta.app_config.verbose_name, []).append(
            _item(str(meta.verbose_name_plural).capitalize(), "table_rows", link)
        )
    first = [
        ("Overview", "monitoring", "index"),
        ("Finance", "payments", "finance"),
        ("Prices", "sell", "prices"),
        ("Compared with the provider", "balance", "reconciliation"),
        ("Ledger checks", "verified", "ledger"),
        ("Deliveries of alerts", "outgoing_mail", "alert_log"),
    ]
    items = [_item(title, icon, reverse(f"ops:{name}")) for title, icon, name in first]
    overview = {"title": None, "separator": False, "items": items}
    return [overview, *({"title": title, "separator": True, "items": items} for title, items in found.items())]


def account(request: HttpRequest) -> list[Item]:
    """Return the links of the person's own menu."""
    site = pages.site_of(request).name
    return [
        {"title": "Change password", "link": reverse(f"{site}:password_change")},
        {"title": "Second factor", "link": reverse(f"{site}:second_factor")},
    ]


def header(request: Any) -> str:
    """Return the name above the sidebar: the tenant's."""
    found = scope.access_of(request) if hasattr(request, "user") else None
    return found.tenant.name if found else "Skillgate"


def _permitted(request: HttpRequest, items: list[tuple[str, str, str, str]]) -> list[Item]:
    return [
        _item(title, icon, reverse(f"admin:{name}")) for title, icon, name, right in items if scope.may(request, right)
    ]


def _item(title: str, icon: str, link: str) -> Item:
    return {"title": title, "icon": icon, "link": link}
