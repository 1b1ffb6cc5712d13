"""Who visits which pages of the console for `bench.console`."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from django.conf import settings
from django.test import Client
from django.urls import URLPattern

from console import ops_console, tenant_console
from tenants.models import ApiKey, Tenant, User

_OPERATOR = "bench-operator"
# Not looked at: they are pages to write on, end the visit, or are downloads.
_LEFT_OUT = (
    ".csv",
    ".xlsx",
    ".pdf",
    "export",
    "logout",
    "password",
    "jsi18n",
    "add/",
    "<",
    "(",
    "revoke/",
    "search/",
    "login",
    "second-factor",
)


@contextmanager
def visitors() -> Iterator[list[tuple[Client, list[str]]]]:
    """Sign in an owner and an operator for as long as the visit lasts, each with the pages to see."""
    largest = Tenant.objects.filter(slug="scale-0001").first()
    if largest is None:
        raise SystemExit("Nothing to measure on: run `manage.py seed_scale` first.")
    settings.ALLOWED_HOSTS, settings.OPERATORS_NEED_TOTP = ["*"], False
    owner = User.objects.get(memberships__tenant=largest)
    User.objects.filter(username=_OPERATOR).delete()  # of a visit that was interrupted
    operator = User.objects.create_superuser(_OPERATOR, f"{_OPERATOR}@example.com")
    clients = [_signed_in(owner), _signed_in(operator)]
    key = ApiKey.objects.filter(tenant=largest).earliest("pk")
    try:
        yield [
            (
                clients[0],
                [*_addresses("/admin/", tenant_console.site.get_urls()), f"/admin/tenants/apikey/{key.pk}/"],
            ),
            (clients[1], _addresses("/ops/", ops_console.site.get_urls())),
        ]
    finally:
        for client in clients:
            client.logout()
        operator.delete()


def _signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def _addresses(site: str, urls: Iterable[object]) -> list[str]:
    found = []
    for url in urls:
        inner = [url] if isinstance(url, URLPattern) else getattr(url, "url_patterns", [])
        head = "" if isinstance(url, URLPattern) else str(getattr(url, "pattern", ""))
        found += [f"{site}{head}{one.pattern}" for one in inner if isinstance(one, URLPattern)]
    return [address for address in found if not any(word in address for word in _LEFT_OUT)]
