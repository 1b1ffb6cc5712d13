"""What the database itself refuses."""

from importlib import import_module

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction

from kit import clock
from tenants.models import ApiKey, AuditEntry, Budget, BudgetIncrease, Refusal
from tests.factories import make_key, make_tenant

pytestmark = pytest.mark.django_db


def run(statement: str, *parameters: int) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def refused(name: str, statement: str, *parameters: int) -> None:
    with pytest.raises(IntegrityError, match=name):
        run(statement, *parameters)


def test_rows_that_belong_together_belong_to_one_tenant() -> None:
    acme, globex = make_tenant(), make_tenant("globex")
    key, foreign = make_key(acme).key, make_key(globex).key
    budget, foreign_budget = Budget.objects.get(key=key), Budget.objects.get(key=foreign)
    increase = BudgetIncrease.objects.create(tenant=acme, budget=budget, ends_at=clock.now().replace(year=2999))
    refusal = Refusal.objects.create(tenant=acme, key=key, hour=clock.now(), reason="x", count=1)

    refused(
        "api_key_family_is_of_its_tenant", "UPDATE tenants_apikey SET family_id = %s WHERE id = %s", foreign.pk, key.pk
    )
    refused(
        "api_key_is_rotated_from", "UPDATE tenants_apikey SET rotated_from_id = %s WHERE id = %s", foreign.pk, key.pk
    )
    refused(
        "budget_key_is_of_its_tenant",
        "UPDATE tenants_budget SET key_id = %s, skill = 'x' WHERE id = %s",
        foreign.pk,
        budget.pk,
    )
    refused(
        "budget_increase_is_of_its_tenant",
        "UPDATE tenants_budgetincrease SET budget_id = %s WHERE id = %s",
        foreign_budget.pk,
        increase.pk,
    )
    refused(
        "refusal_key_is_of_its_tenant", "UPDATE tenants_refusal SET key_id = %s WHERE id = %s", foreign.pk, refusal.pk
    )


def test_the_audit_log_is_append_only() -> None:
    make_tenant()

    refused("stays as it was recorded", "UPDATE tenants_auditentry SET actor = 'nobody'")
    refused("stays as it was recorded", "DELETE FROM tenants_auditentry")

    assert AuditEntry.objects.get().actor == "system"


def test_a_key_is_never_deleted() -> None:
    key = make_key(make_tenant()).key
    Budget.objects.filter(key=key).delete()

    refused("revoke the key instead", "DELETE FROM tenants_apikey")

    assert ApiKey.objects.get() == key


def test_models_and_migrations_agree() -> None:
    call_command("makemigrations", "tenants", check=True, dry_run=True, verbosity=0)


def test_the_constraints_can_be_taken_back_and_made_again() -> None:
    migration = import_module("tenants.migrations.0002_constraints").Migration

    with connection.cursor() as cursor:
        for operation in reversed(migration.operations):
            cursor.execute(operation.reverse_sql)
        for operation in migration.operations:
            cursor.execute(operation.sql)
    make_tenant()
    refused("stays as it was recorded", "UPDATE tenants_auditentry SET actor = 'nobody'")
