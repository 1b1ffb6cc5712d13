-- What is sealed, closed or adjusted stays as it is, and a sealed estimate that becomes known is adjusted instead of edited.

CREATE FUNCTION usage_row_is_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a row of % cannot be %', TG_TABLE_NAME, CASE TG_OP WHEN 'UPDATE' THEN 'changed' ELSE 'removed' END
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER seal_is_kept BEFORE UPDATE OR DELETE ON usage_seal FOR EACH ROW EXECUTE FUNCTION usage_row_is_kept();
CREATE TRIGGER statement_is_kept BEFORE UPDATE OR DELETE ON usage_statement FOR EACH ROW EXECUTE FUNCTION usage_row_is_kept();
CREATE TRIGGER adjustment_is_kept BEFORE UPDATE OR DELETE ON usage_adjustment FOR EACH ROW EXECUTE FUNCTION usage_row_is_kept();

-- The month in which what belongs to p_month is booked: itself, or the first that is not closed yet.
CREATE FUNCTION usage_open_month(p_tenant bigint, p_month date) RETURNS date LANGUAGE sql STABLE AS $$
    SELECT greatest(p_month, (max(month) + interval '1 month')::date) FROM usage_statement WHERE tenant_id = p_tenant
$$;

-- What a tenant is charged for tokens of a model that cost so much on one of its days.
CREATE FUNCTION usage_charge(
    p_tenant bigint, p_day date, p_model varchar, p_cost bigint, p_input bigint, p_output bigint, p_write_5m bigint,
    p_write_1h bigint, p_read bigint
) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT usage_billed(
        p_cost, t.markup_basis_points, p_input, p_output, p_write_5m, p_write_1h, p_read, r.input, r.output, r.write_5m, r.write_1h, r.read
    )
    FROM (SELECT 1) one
    LEFT JOIN LATERAL (
        SELECT f.id, f.markup_basis_points FROM usage_tariff f WHERE f.tenant_id = p_tenant AND f.effective_from <= p_day
        ORDER BY f.effective_from DESC, f.id DESC LIMIT 1
    ) t ON true
    LEFT JOIN LATERAL (
        SELECT max(p.micros_per_million) FILTER (WHERE p.token_class = 'input') AS input,
               max(p.micros_per_million) FILTER (WHERE p.token_class = 'output') AS output,
               max(p.micros_per_million) FILTER (WHERE p.token_class = 'cache_write_5m') AS write_5m,
               max(p.micros_per_million) FILTER (WHERE p.token_class = 'cache_write_1h') AS write_1h,
               max(p.micros_per_million) FILTER (WHERE p.token_class = 'cache_read') AS read
        FROM usage_tariffprice p WHERE p.tariff_id = t.id AND p.model = CASE
            WHEN EXISTS (SELECT 1 FROM usage_tariffprice x WHERE x.tariff_id = t.id AND x.model = p_model) THEN p_model
            ELSE usage_undated(p_model) END
    ) r ON true
$$;

-- An estimate may become known after its day was sealed (its process was stalled for hours and settles now). The event
-- stays as it was sealed, the difference becomes an adjustment, and the ledger's answer is that the event was kept.
-- Whoever closes events holds the tenant's lock, and so does whoever seals: this cannot race with a sealing.
CREATE OR REPLACE FUNCTION usage_sealed_estimate_is_adjusted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state <> 'estimated'
        OR NOT EXISTS (SELECT 1 FROM usage_seal WHERE tenant_id = OLD.tenant_id AND last_number >= OLD.number) THEN
        RETURN NEW;
    END IF;
    IF NEW.state NOT IN ('settled', 'released') THEN
        RAISE EXCEPTION 'a sealed usage event cannot be changed (tenant %, number %)', OLD.tenant_id, OLD.number
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    INSERT INTO usage_adjustment (
        tenant_id, month, kind, origin_day, event_id, event_number, key_id, skill, model, input_tokens, output_tokens,
        cache_write_5m_tokens, cache_write_1h_tokens, cache_read_tokens, charged_tokens, cost_micros, billed_micros,
        reason, created_by, created_at
    ) VALUES (
        OLD.tenant_id, usage_open_month(OLD.tenant_id, OLD.month), 'correction', OLD.day, OLD.id, OLD.number, OLD.key_id, OLD.skill,
        OLD.model, NEW.input_tokens - OLD.input_tokens, NEW.output_tokens - OLD.output_tokens,
        NEW.cache_write_5m_tokens - OLD.cache_write_5m_tokens, NEW.cache_write_1h_tokens - OLD.cache_write_1h_tokens,
        NEW.cache_read_tokens - OLD.cache_read_tokens, NEW.charged_tokens - OLD.charged_tokens, NEW.cost_micros - OLD.cost_micros,
        usage_charge(
            OLD.tenant_id, OLD.day, OLD.model, NEW.cost_micros, NEW.input_tokens, NEW.output_tokens, NEW.cache_write_5m_tokens,
            NEW.cache_write_1h_tokens, NEW.cache_read_tokens
        ) - usage_charge(
            OLD.tenant_id, OLD.day, OLD.model, OLD.cost_micros, OLD.input_tokens, OLD.output_tokens, OLD.cache_write_5m_tokens,
            OLD.cache_write_1h_tokens, OLD.cache_read_tokens
        ),
        format('estimated when it was sealed, %s since', NEW.state), 'system', NEW.closed_at
    ) ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER usage_event_sealed_estimate BEFORE UPDATE ON usage_event
    FOR EACH ROW WHEN (OLD.closed_at IS NOT NULL) EXECUTE FUNCTION usage_sealed_estimate_is_adjusted();

ALTER TABLE usage_adjustment ADD CONSTRAINT adjustment_key_is_of_its_tenant
    FOREIGN KEY (tenant_id, key_id) REFERENCES tenants_apikey (tenant_id, id);
ALTER TABLE usage_alertdelivery ADD CONSTRAINT alert_delivery_is_of_its_tenant
    FOREIGN KEY (tenant_id, alert_id) REFERENCES usage_alert (tenant_id, id);
ALTER TABLE usage_seal ALTER COLUMN digests SET STORAGE EXTERNAL;  -- digests cannot be compressed
