"""What the commands share: rows found by the names people use, and errors as one sentence with exit code 1."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management.base import CommandError

from kit.errors import SkillgateError
from tenants.models import ApiKey, Tenant


@contextmanager
def refusals_as_sentences() -> Iterator[None]:
    """Turn a refusal into what `manage.py` prints before it exits with 1."""
    try:
        yield
    except SkillgateError as refusal:
        raise CommandError(refusal.message) from refusal


def tenant(slug: str) -> Tenant:
    """Find a tenant by its slug."""
    found = Tenant.objects.filter(slug=slug).first()
    if found is None:
        raise CommandError(f"There is no tenant with the slug {slug}. Create it with create_tenant.")
    return found


def key(public_id: str) -> ApiKey:
    """Find a key by its public id."""
    found = ApiKey.objects.filter(public_id=public_id).select_related("tenant").first()
    if found is None:
        raise CommandError(
            "There is no key with that public id. It starts with key_ and is shown when a key is issued."
        )
    return found


def names(text: str) -> list[str]:
    """Split a comma-separated option."""
    return [name.strip() for name in text.split(",") if name.strip()]
