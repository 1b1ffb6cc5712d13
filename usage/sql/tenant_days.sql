-- What all of a tenant's keys, skills and models add up to in a day: for pages that look at every tenant at once.

-- Sums the days anew of which a rollup was made, changed or removed. Who changes a day's rollups holds its lock.
CREATE FUNCTION usage_sum_days() RETURNS trigger LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan AS $$
BEGIN
    INSERT INTO usage_tenantday AS t (
        tenant_id, day, calls, errors, estimated_calls, released_calls, unpriced_calls, input_tokens, output_tokens,
        cache_write_5m_tokens, cache_write_1h_tokens, cache_read_tokens, charged_tokens, cost_micros, estimated_micros,
        unpriced_micros, billed_micros
    )
    SELECT d.tenant_id, d.day, sum(d.calls), sum(d.errors), sum(d.estimated_calls), sum(d.released_calls), sum(d.unpriced_calls),
           sum(d.input_tokens), sum(d.output_tokens), sum(d.cache_write_5m_tokens), sum(d.cache_write_1h_tokens),
           sum(d.cache_read_tokens), sum(d.charged_tokens), sum(d.cost_micros), sum(d.estimated_micros), sum(d.unpriced_micros),
           sum(d.billed_micros)
    FROM usage_dailyusage d JOIN (SELECT DISTINCT c.tenant_id, c.day FROM changed c) c ON c.tenant_id = d.tenant_id AND c.day = d.day
    GROUP BY d.tenant_id, d.day
    ON CONFLICT (tenant_id, day) DO UPDATE SET
        calls = excluded.calls, errors = excluded.errors, estimated_calls = excluded.estimated_calls,
        released_calls = excluded.released_calls, unpriced_calls = excluded.unpriced_calls, input_tokens = excluded.input_tokens,
        output_tokens = excluded.output_tokens, cache_write_5m_tokens = excluded.cache_write_5m_tokens,
        cache_write_1h_tokens = excluded.cache_write_1h_tokens, cache_read_tokens = excluded.cache_read_tokens,
        charged_tokens = excluded.charged_tokens, cost_micros = excluded.cost_micros, estimated_micros = excluded.estimated_micros,
        unpriced_micros = excluded.unpriced_micros, billed_micros = excluded.billed_micros;
    IF TG_OP = 'DELETE' THEN
        DELETE FROM usage_tenantday t USING changed c
        WHERE t.tenant_id = c.tenant_id AND t.day = c.day
          AND NOT EXISTS (SELECT 1 FROM usage_dailyusage d WHERE d.tenant_id = c.tenant_id AND d.day = c.day);
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER usage_dailyusage_is_summed AFTER INSERT ON usage_dailyusage
REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION usage_sum_days();
CREATE TRIGGER usage_dailyusage_is_summed_again AFTER UPDATE ON usage_dailyusage
REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION usage_sum_days();
CREATE TRIGGER usage_dailyusage_is_summed_without AFTER DELETE ON usage_dailyusage
REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION usage_sum_days();

-- The totals of some tenants' month by day: what is rolled, and what changed since, as `usage_month_totals` has them.
CREATE FUNCTION usage_tenant_totals(p_tenants bigint[], p_month date)
RETURNS TABLE (
    tenant_id bigint, day date, calls bigint, errors bigint, estimated_calls bigint, released_calls bigint, unpriced_calls bigint,
    input_tokens bigint, output_tokens bigint, cache_write_5m_tokens bigint, cache_write_1h_tokens bigint,
    cache_read_tokens bigint, charged_tokens bigint, cost_micros bigint, estimated_micros bigint, unpriced_micros bigint,
    billed_micros bigint
) LANGUAGE plpgsql STABLE SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT t.tenant_id, t.day, t.calls, t.errors, t.estimated_calls, t.released_calls, t.unpriced_calls, t.input_tokens,
           t.output_tokens, t.cache_write_5m_tokens, t.cache_write_1h_tokens, t.cache_read_tokens, t.charged_tokens, t.cost_micros,
           t.estimated_micros, t.unpriced_micros, t.billed_micros
    FROM usage_tenantday t
    WHERE t.tenant_id = ANY (p_tenants) AND t.day >= p_month AND t.day < (p_month + interval '1 month')::date;
    IF NOT usage_is_behind(p_tenants, p_month) THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT c.tenant_id, c.day, c.calls, c.errors, c.estimated_calls, c.released_calls, c.unpriced_calls, c.input_tokens,
           c.output_tokens, c.cache_write_5m_tokens, c.cache_write_1h_tokens, c.cache_read_tokens, c.charged_tokens, c.cost_micros,
           c.estimated_micros, c.unpriced_micros, c.billed_micros
    FROM usage_dayrevision r CROSS JOIN LATERAL usage_day_changes(r.tenant_id, r.day, r.rolled_number) c
    WHERE r.tenant_id = ANY (p_tenants) AND r.day >= p_month AND r.day < (p_month + interval '1 month')::date
      AND r.revision > r.rolled_revision AND c.state <> 'open';
END $$;
