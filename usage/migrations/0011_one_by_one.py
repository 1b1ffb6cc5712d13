"""One call and one closing go by small statements of their own; a batch of closings reads its events once."""

import re
from pathlib import Path

from django.db import migrations

SQL = Path(__file__).resolve().parents[1] / "sql"
CHANGED = [
    re.findall(rf"CREATE OR REPLACE FUNCTION {name}\b.*?\nEND \$\$;", (SQL / "ledger.sql").read_text(), re.DOTALL)
    for name in ("usage_close", "usage_apply")
]
FUNCTIONS = "\n".join([(SQL / "alone.sql").read_text(), *(function for (function,) in CHANGED)])

BEFORE = """
CREATE OR REPLACE FUNCTION usage_apply(p_settle jsonb, p_reserve jsonb) RETURNS SETOF usage_answer LANGUAGE plpgsql
SET lock_timeout = '1200ms' AS $$
DECLARE
    v_items usage_closing[] := ARRAY(SELECT i FROM jsonb_populate_recordset(NULL::usage_closing, p_settle) i);
    v_calls usage_call[] := ARRAY(SELECT c FROM jsonb_populate_recordset(NULL::usage_call, p_reserve) c);
    v_tenants bigint[];
    v_tenant bigint;
BEGIN
    SELECT array_agg(DISTINCT c.tenant_id ORDER BY c.tenant_id) INTO v_tenants FROM unnest(v_calls) c;
    PERFORM usage_lock_tenants(v_tenants || ARRAY(SELECT DISTINCT i.tenant_id FROM unnest(v_items) i));
    IF cardinality(v_items) > 0 THEN
        RETURN QUERY SELECT * FROM usage_close(v_items);
    END IF;
    IF cardinality(v_tenants) = 1 THEN
        RETURN QUERY SELECT * FROM usage_reserve(v_tenants[1], v_calls);
    ELSIF v_tenants IS NOT NULL THEN
        FOREACH v_tenant IN ARRAY v_tenants LOOP
            RETURN QUERY SELECT * FROM usage_reserve(v_tenant, ARRAY(SELECT c FROM unnest(v_calls) c WHERE c.tenant_id = v_tenant));
        END LOOP;
    END IF;
END $$;
DROP FUNCTION usage_close_one(usage_closing);
DROP FUNCTION usage_reserve_one(usage_call);
"""


class Migration(migrations.Migration):
    dependencies = [("usage", "0010_numbers_by_tenant")]

    operations = [migrations.RunSQL(FUNCTIONS, BEFORE)]
