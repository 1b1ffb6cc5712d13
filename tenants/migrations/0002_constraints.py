"""What Django's models cannot say: rows that belong together belong to one tenant, and history stays.

A tenant's time zone is checked where it is set (tenants.tenants), not here: whether Postgres knows a
zone is not an immutable fact, so it cannot stand in a CHECK.
"""

from django.db import migrations

# A row may only point to a row of its own tenant, whatever the application believes.
SAME_TENANT = [
    ("tenants_apikey", "api_key_family_is_of_its_tenant", "family_id", "tenants_apikey"),
    ("tenants_apikey", "api_key_is_rotated_from_its_tenant", "rotated_from_id", "tenants_apikey"),
    ("tenants_budget", "budget_key_is_of_its_tenant", "key_id", "tenants_apikey"),
    ("tenants_budgetincrease", "budget_increase_is_of_its_tenant", "budget_id", "tenants_budget"),
    ("tenants_refusal", "refusal_key_is_of_its_tenant", "key_id", "tenants_apikey"),
]


def same_tenant(table: str, name: str, column: str, target: str) -> migrations.RunSQL:
    return migrations.RunSQL(
        f"ALTER TABLE {table} ADD CONSTRAINT {name} FOREIGN KEY (tenant_id, {column}) REFERENCES {target} (tenant_id, id)",
        f"ALTER TABLE {table} DROP CONSTRAINT {name}",
    )


# TRUNCATE stays possible: only the owner of the tables can do it, and emptying a test database is done with it.
REFUSE = """
CREATE FUNCTION tenants_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on % is refused: %', TG_OP, TG_TABLE_NAME, TG_ARGV[0] USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER audit_entry_is_append_only BEFORE UPDATE OR DELETE ON tenants_auditentry
    FOR EACH ROW EXECUTE FUNCTION tenants_refuse_change('what was recorded stays as it was recorded');
CREATE TRIGGER api_key_is_never_deleted BEFORE DELETE ON tenants_apikey
    FOR EACH ROW EXECUTE FUNCTION tenants_refuse_change('revoke the key instead, its usage still names it');
"""
ALLOW = """
DROP TRIGGER api_key_is_never_deleted ON tenants_apikey;
DROP TRIGGER audit_entry_is_append_only ON tenants_auditentry;
DROP FUNCTION tenants_refuse_change();
"""


class Migration(migrations.Migration):
    dependencies = [("tenants", "0001_initial")]
    operations = [*(same_tenant(*row) for row in SAME_TENANT), migrations.RunSQL(REFUSE, ALLOW)]
