-- What each budget was, from an instant on: whoever changes a budget or an increase of it, the database keeps what is now.

-- As the tables' owner: a tenant's own page may change its budgets and not what is kept of them.
CREATE OR REPLACE FUNCTION usage_keep_budget() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    v_row jsonb := to_jsonb(CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END);
    v_budget bigint := v_row ->> CASE TG_TABLE_NAME WHEN 'tenants_budget' THEN 'id' ELSE 'budget_id' END;
BEGIN
    IF TG_TABLE_NAME = 'tenants_budget' AND TG_OP = 'DELETE' THEN
        INSERT INTO usage_budgetversion (tenant_id, key_id, skill, "window", increases, is_gone, since)
        VALUES (OLD.tenant_id, OLD.key_id, OLD.skill, OLD."window", '[]', true, usage_clock());
        RETURN NULL;
    END IF;
    INSERT INTO usage_budgetversion (tenant_id, key_id, skill, "window", limit_tokens, limit_micros, increases, is_gone, since)
    SELECT b.tenant_id, b.key_id, b.skill, b."window", b.limit_tokens, b.limit_micros, coalesce((
        SELECT jsonb_agg(jsonb_build_object(
            'tokens', x.extra_tokens, 'micros', x.extra_micros, 'starts_at', x.starts_at, 'ends_at', x.ends_at
        ) ORDER BY x.id) FROM tenants_budgetincrease x WHERE x.budget_id = b.id
    ), '[]'), false, usage_clock()
    FROM tenants_budget b WHERE b.id = v_budget;
    RETURN NULL;
END $$;

CREATE TRIGGER usage_budget_is_kept AFTER INSERT OR DELETE OR UPDATE OF limit_tokens, limit_micros ON tenants_budget
FOR EACH ROW EXECUTE FUNCTION usage_keep_budget();
CREATE TRIGGER usage_budget_increase_is_kept AFTER INSERT OR UPDATE OR DELETE ON tenants_budgetincrease
FOR EACH ROW EXECUTE FUNCTION usage_keep_budget();

-- What there is already, as if it had always been so.
INSERT INTO usage_budgetversion (tenant_id, key_id, skill, "window", limit_tokens, limit_micros, increases, is_gone, since)
SELECT b.tenant_id, b.key_id, b.skill, b."window", b.limit_tokens, b.limit_micros, coalesce((
    SELECT jsonb_agg(jsonb_build_object(
        'tokens', x.extra_tokens, 'micros', x.extra_micros, 'starts_at', x.starts_at, 'ends_at', x.ends_at
    ) ORDER BY x.id) FROM tenants_budgetincrease x WHERE x.budget_id = b.id
), '[]'), false, b.created_at
FROM tenants_budget b;
