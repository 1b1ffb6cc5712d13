-- Usage events, partitioned by the tenant's calendar month, and the rules no writer can get around.

CREATE TABLE usage_event (
    id uuid NOT NULL,
    month date NOT NULL,
    day date NOT NULL,
    number bigint NOT NULL,
    tenant_id bigint NOT NULL, -- its key's, and a key is of a tenant
    key_id bigint NOT NULL,
    family_id bigint NOT NULL,
    run_id uuid NOT NULL,
    attempt smallint NOT NULL,
    purpose varchar(16) NOT NULL,
    request_id varchar(128) NOT NULL,
    entry_point varchar(16) NOT NULL,
    skill varchar(64) NOT NULL,
    skill_version integer,
    model varchar(64) NOT NULL,
    route varchar(160) NOT NULL DEFAULT '',
    state varchar(16) NOT NULL,
    reserved_tokens bigint NOT NULL,
    reserved_output_tokens bigint NOT NULL,
    reserved_micros bigint NOT NULL,
    input_tokens bigint NOT NULL DEFAULT 0,
    output_tokens bigint NOT NULL DEFAULT 0,
    cache_write_5m_tokens bigint NOT NULL DEFAULT 0,
    cache_write_1h_tokens bigint NOT NULL DEFAULT 0,
    cache_read_tokens bigint NOT NULL DEFAULT 0,
    charged_tokens bigint NOT NULL DEFAULT 0,
    cost_micros bigint NOT NULL DEFAULT 0,
    price_version integer NOT NULL,
    stop_reason varchar(32) NOT NULL DEFAULT '',
    error_type varchar(64) NOT NULL DEFAULT '',
    upstream_request_id varchar(128) NOT NULL DEFAULT '',
    service_tier varchar(32) NOT NULL DEFAULT '',
    opened_at timestamptz NOT NULL,
    lease_until timestamptz NOT NULL,
    closed_at timestamptz,
    first_output_ms integer,
    duration_ms integer,
    PRIMARY KEY (month, id),
    CONSTRAINT usage_event_key_is_of_its_tenant FOREIGN KEY (tenant_id, key_id) REFERENCES tenants_apikey (tenant_id, id)
) PARTITION BY RANGE (month);

CREATE UNIQUE INDEX usage_event_number_is_given_once ON usage_event (month, tenant_id, number); -- since 0010 (tenant_id, month, number)
CREATE INDEX usage_event_by_day ON usage_event (tenant_id, day);
CREATE INDEX usage_event_by_key ON usage_event (family_id, number);
CREATE INDEX usage_event_open_by_lease ON usage_event (lease_until) WHERE state = 'open';

-- What lands here had no partition: an alarm, never a loss.
CREATE TABLE usage_event_default PARTITION OF usage_event DEFAULT;

-- What no event may say, whoever writes it. Not CHECK constraints: each statement reads those from their text anew, which
-- cost an insert more than all else that it does (docs/decisions/0009). A refusal looks the same.
CREATE OR REPLACE FUNCTION usage_event_is_sound() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_broken text := CASE
        WHEN NEW.state NOT IN ('open', 'settled', 'released', 'estimated') THEN 'usage_event_state_is_known'
        WHEN (NEW.state = 'open') <> (NEW.closed_at IS NULL) THEN 'usage_event_is_closed_with_a_time'
        WHEN NEW.month <> date_trunc('month', NEW.day::timestamp)::date THEN 'usage_event_month_is_of_its_day'
        WHEN NEW.reserved_output_tokens NOT BETWEEN 0 AND NEW.reserved_tokens
             OR NEW.reserved_tokens <= 0 AND NEW.purpose <> 'cached' OR NEW.reserved_micros < 0
            THEN 'usage_event_reserves_something'
        WHEN NEW.purpose = 'cached' AND (
                 NEW.reserved_tokens <> 0 OR NEW.reserved_micros <> 0 OR NEW.charged_tokens <> 0 OR NEW.cost_micros <> 0
             ) THEN 'usage_event_from_the_cache_is_free'
        WHEN NEW.charged_tokens <> NEW.input_tokens + NEW.output_tokens + NEW.cache_write_5m_tokens + NEW.cache_write_1h_tokens
                 + NEW.cache_read_tokens
             OR least(
                    NEW.input_tokens, NEW.output_tokens, NEW.cache_write_5m_tokens, NEW.cache_write_1h_tokens, NEW.cache_read_tokens,
                    NEW.cost_micros
                ) < 0 THEN 'usage_event_charge_is_the_sum_of_its_classes'
        WHEN NEW.state IN ('open', 'released') AND (NEW.charged_tokens <> 0 OR NEW.cost_micros <> 0)
            THEN 'usage_event_uncharged_until_closed'
    END;
BEGIN
    IF v_broken IS NOT NULL THEN
        RAISE EXCEPTION 'usage event % of tenant % violates %', NEW.id, NEW.tenant_id, v_broken
            USING ERRCODE = 'check_violation', TABLE = 'usage_event', CONSTRAINT = v_broken;
    END IF;
    RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER usage_event_is_sound BEFORE INSERT OR UPDATE ON usage_event
    FOR EACH ROW EXECUTE FUNCTION usage_event_is_sound();

-- WHEN, which each statement reads from its text anew as well, asks as little as it can: what is not open has a time.
CREATE OR REPLACE FUNCTION usage_event_is_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.state = 'estimated' THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'a % usage event cannot be % (tenant %, number %)', OLD.state, lower(TG_OP), OLD.tenant_id, OLD.number
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE OR REPLACE TRIGGER usage_event_refuses_change BEFORE UPDATE ON usage_event
    FOR EACH ROW WHEN (OLD.closed_at IS NOT NULL) EXECUTE FUNCTION usage_event_is_final();
CREATE TRIGGER usage_event_refuses_removal BEFORE DELETE ON usage_event
    FOR EACH ROW EXECUTE FUNCTION usage_event_is_final();

-- Makes the partitions of p_months months from p_from on; returns how many were missing. Safe to repeat.
CREATE FUNCTION usage_make_partitions(p_from date, p_months integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    v_month date;
    v_name text;
    v_made integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('usage_make_partitions'));
    FOR v_month IN SELECT (date_trunc('month', p_from) + make_interval(months => i))::date FROM generate_series(0, p_months - 1) i LOOP
        v_name := 'usage_event_' || to_char(v_month, 'YYYY_MM');
        CONTINUE WHEN to_regclass(v_name) IS NOT NULL;
        EXECUTE format('CREATE TABLE %I (LIKE usage_event INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', v_name);
        EXECUTE format(
            'ALTER TABLE usage_event ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', v_name, v_month, v_month + interval '1 month'
        );
        v_made := v_made + 1;
    END LOOP;
    RETURN v_made;
END $$;
SELECT usage_make_partitions((now() - interval '1 month')::date, 5);

ALTER TABLE usage_budgetaccount SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
ALTER TABLE usage_tenanttally SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
ALTER TABLE usage_budgetaccount ADD CONSTRAINT budget_account_key_is_of_its_tenant
    FOREIGN KEY (tenant_id, key_id) REFERENCES tenants_apikey (tenant_id, id);
-- An owner of a budget is a family of keys, or 0 for the tenant itself: NULL cannot be looked up with `= ANY`.
CREATE INDEX usage_budgetaccount_by_owner ON usage_budgetaccount (tenant_id, period, coalesce(key_id, 0));
CREATE INDEX tenants_budget_by_owner ON tenants_budget (tenant_id, coalesce(key_id, 0));
ALTER TABLE usage_dayrevision SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
