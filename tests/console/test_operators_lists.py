"""Operators' lists: how dates and help are worded."""

import pytest

from tenants.models import AuditEntry
from tests.console.conftest import Cast

pytestmark = pytest.mark.django_db


def test_dates_are_worded_as_on_every_page_and_code_in_help_is_shown_as_code(cast: Cast) -> None:
    entry, client = AuditEntry.objects.latest("pk"), cast.client("olga")

    rows = client.get("/ops/tenants/auditentry/").content.decode()
    one = client.get(f"/ops/tenants/auditentry/{entry.pk}/change/").content.decode()

    assert f"{entry.at.day} {entry.at:%B %Y, %H:%M}" in rows
    assert '<code class="sg-code">system</code>' in one
    assert "`system`" not in one
