"""The second wall: Postgres itself holds a tenant's page to its tenant."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.db import DatabaseError, connection, models, transaction

from console import walls
from tenants.models import ApiKey, AuditEntry, Budget, Tenant, User
from tests.console.conftest import Cast

pytestmark = pytest.mark.django_db


def rows(query: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        found: list[tuple[Any, ...]] = cursor.fetchall()
        return found


def tables_with_a_tenant() -> list[str]:
    return [
        name
        for (name,) in rows(
            "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id'"
            " AND NOT a.attisdropped WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition"
            " AND c.relnamespace = 'public'::regnamespace ORDER BY 1"
        )
    ]


def test_every_table_with_a_tenant_is_behind_the_wall() -> None:
    guarded = {name for (name,) in rows("SELECT tablename FROM pg_policies WHERE 'skillgate_tenant' = ANY (roles)")}
    enabled = {name for (name,) in rows("SELECT relname FROM pg_class WHERE relrowsecurity")}

    assert set(tables_with_a_tenant()) <= guarded & enabled


def test_the_role_reaches_nothing_that_is_not_behind_the_wall() -> None:
    reachable = {
        name
        for (name,) in rows(
            "SELECT DISTINCT table_name FROM information_schema.role_table_grants WHERE grantee = 'skillgate_tenant'"
        )
    }
    guarded = {name for (name,) in rows("SELECT tablename FROM pg_policies WHERE 'skillgate_tenant' = ANY (roles)")}

    assert reachable - guarded <= {"usage_price", "usage_pricebook", "django_content_type"}
    assert not {"django_session", "otp_totp_totpdevice", "axes_accessattempt"} & reachable


def test_behind_the_wall_no_query_finds_anothers_rows(cast: Cast) -> None:
    assert ApiKey.objects.count() == 2

    with walls.within(cast.other.pk):
        for table in tables_with_a_tenant():
            tenants = {found for (found,) in rows(f"SELECT DISTINCT tenant_id FROM {table}")}
            assert tenants <= {cast.other.pk, None}, table
        assert [key.name for key in ApiKey.objects.all()] == ["globex key"]
        assert list(Tenant.objects.values_list("slug", flat=True)) == ["globex"]
        assert list(User.objects.values_list("username", flat=True)) == ["mallory"]
        assert set(AuditEntry.objects.values_list("tenant", flat=True)) == {cast.other.pk}

    assert ApiKey.objects.count() == 2


def test_behind_the_wall_nothing_of_another_can_be_written(cast: Cast) -> None:
    with walls.within(cast.other.pk):
        assert ApiKey.objects.filter(pk=cast.key.key.pk).update(name="mine now") == 0
        assert Tenant.objects.filter(pk=cast.acme.pk).update(name="mine now") == 0
        with pytest.raises(DatabaseError), transaction.atomic():
            Budget.objects.create(tenant=cast.acme, window="day", limit_tokens=1)
        with pytest.raises(DatabaseError), transaction.atomic():
            ApiKey.objects.filter(pk=cast.other_key.key.pk).update(tenant=cast.acme)

    assert ApiKey.objects.get(pk=cast.key.key.pk).name == "acme key"


@pytest.mark.parametrize("table", ["django_session", "otp_totp_totpdevice", "usage_event_default"])
def test_behind_the_wall_other_tables_are_out_of_reach(cast: Cast, table: str) -> None:
    with walls.within(cast.acme.pk), pytest.raises(DatabaseError, match="permission denied"), transaction.atomic():
        rows(f"SELECT 1 FROM {table}")


def test_without_a_tenant_the_role_sees_nothing(cast: Cast) -> None:
    with walls.within(cast.acme.pk):
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('skillgate.tenant', '', true)")
        assert ApiKey.objects.count() == 0


def test_the_wall_falls_with_the_page_also_when_it_fails(cast: Cast) -> None:
    with pytest.raises(ValueError, match="broken page"), walls.within(cast.acme.pk):
        raise ValueError("broken page")

    assert rows("SELECT current_user, nullif(current_setting('skillgate.tenant', true), '')") == [("postgres", None)]
    assert ApiKey.objects.count() == 2


def has_tenant(model: Any) -> bool:
    return hasattr(model, "_meta") and any(field.name == "tenant" for field in model._meta.fields)


def links() -> Iterator[tuple[str, str]]:
    """Every column by which a row of a tenant names another row of a tenant."""
    for model in filter(has_tenant, apps.get_models()):
        for field in model._meta.fields:
            if isinstance(field, models.ForeignKey) and field.name != "tenant" and has_tenant(field.related_model):
                yield model._meta.db_table, field.column


def test_every_link_within_a_tenant_is_held_by_a_foreign_key_of_both_columns() -> None:
    held = {
        (table, column)
        for table, column in rows(
            "SELECT c.conrelid::regclass::text, a.attname FROM pg_constraint c"
            " JOIN pg_attribute t ON t.attrelid = c.conrelid AND t.attnum = ANY (c.conkey) AND t.attname = 'tenant_id'"
            " JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey) AND a.attname <> 'tenant_id'"
            " WHERE c.contype = 'f' AND cardinality(c.conkey) = 2"
        )
    }
    # A skill without a tenant is everyone's, so triggers (skills.0002 and 0005) hold these instead.
    tables = ("skilllabel", "skilllabelmove", "skillcase", "releasegate", "caserun", "keypin")
    by_trigger = {(f"skills_{table}", "skill_id") for table in tables}

    assert set(links()) - held - by_trigger == set()
