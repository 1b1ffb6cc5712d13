-- What reports sum: what each event's tenant is charged, and the daily rollups that are kept from the events.

-- `claude-haiku-4-5` of `claude-haiku-4-5-20251001`: prices hold for all dated versions of a model.
CREATE OR REPLACE FUNCTION usage_undated(p_model varchar) RETURNS varchar LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN right(p_model, 9) LIKE '-________' THEN regexp_replace(p_model, '-[0-9]{8}$', '') ELSE p_model END
$$;

-- What a tenant is charged for one event: its own price of the model where it has one, else the cost with its markup.
-- Rounded half up to a micro-dollar, once for each event: every total is a sum of whole numbers.
CREATE OR REPLACE FUNCTION usage_billed(
    p_cost bigint, p_markup integer, p_input bigint, p_output bigint, p_write_5m bigint, p_write_1h bigint, p_read bigint,
    p_price_input bigint, p_price_output bigint, p_price_write_5m bigint, p_price_write_1h bigint, p_price_read bigint
) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN p_price_input IS NULL THEN (p_cost * (10000 + coalesce(p_markup, 0)) + 5000) / 10000
    ELSE (p_input * p_price_input + p_output * p_price_output + p_write_5m * p_price_write_5m + p_write_1h * p_price_write_1h
          + p_read * p_price_read + 500000) / 1000000 END
$$;

-- A tenant's events of some days (both included) with their charge, the tariff it follows from (NULL: the cost itself),
-- and whether their model had no price of its own.
CREATE OR REPLACE FUNCTION usage_billed_events(p_tenant bigint, p_first date, p_last date)
RETURNS TABLE (
    id uuid, month date, day date, number bigint, tenant_id bigint, key_id bigint, family_id bigint, run_id uuid,
    attempt smallint, purpose varchar, request_id varchar, entry_point varchar, skill varchar, skill_version integer,
    model varchar, state varchar, input_tokens bigint, output_tokens bigint, cache_write_5m_tokens bigint,
    cache_write_1h_tokens bigint, cache_read_tokens bigint, charged_tokens bigint, cost_micros bigint,
    price_version integer, stop_reason varchar, error_type varchar, upstream_request_id varchar, service_tier varchar,
    opened_at timestamptz, closed_at timestamptz, billed_micros bigint, tariff_id bigint, is_unpriced boolean
) LANGUAGE sql STABLE AS $$
    WITH tariffs AS (
        SELECT t.id, t.markup_basis_points, t.effective_from, lead(t.effective_from) OVER (ORDER BY t.effective_from) AS until
        FROM (
            SELECT DISTINCT ON (f.effective_from) f.id, f.effective_from, f.markup_basis_points
            FROM usage_tariff f WHERE f.tenant_id = p_tenant ORDER BY f.effective_from, f.id DESC
        ) t
    ), rates AS (
        SELECT p.tariff_id, p.model,
               max(p.micros_per_million) FILTER (WHERE p.token_class = 'input') AS input,
               max(p.micros_per_million) FILTER (WHERE p.token_class = 'output') AS output,
               max(p.micros_per_million) FILTER (WHERE p.token_class = 'cache_write_5m') AS write_5m,
               max(p.micros_per_million) FILTER (WHERE p.token_class = 'cache_write_1h') AS write_1h,
               max(p.micros_per_million) FILTER (WHERE p.token_class = 'cache_read') AS read
        FROM usage_tariffprice p WHERE p.tenant_id = p_tenant GROUP BY p.tariff_id, p.model
    ), priced AS (
        SELECT DISTINCT p.book_id, p.model FROM usage_price p WHERE p.model <> '*'
    )
    SELECT e.id, e.month, e.day, e.number, e.tenant_id, e.key_id, e.family_id, e.run_id, e.attempt, e.purpose, e.request_id,
           e.entry_point, e.skill, e.skill_version, e.model, e.state, e.input_tokens, e.output_tokens, e.cache_write_5m_tokens,
           e.cache_write_1h_tokens, e.cache_read_tokens, e.charged_tokens, e.cost_micros, e.price_version, e.stop_reason,
           e.error_type, e.upstream_request_id, e.service_tier, e.opened_at, e.closed_at,
           usage_billed(
               e.cost_micros, t.markup_basis_points, e.input_tokens, e.output_tokens, e.cache_write_5m_tokens,
               e.cache_write_1h_tokens, e.cache_read_tokens, coalesce(r.input, u.input), coalesce(r.output, u.output),
               coalesce(r.write_5m, u.write_5m), coalesce(r.write_1h, u.write_1h), coalesce(r.read, u.read)
           ),
           t.id, x.model IS NULL AND y.model IS NULL
    FROM usage_event e
    LEFT JOIN tariffs t ON t.effective_from <= e.day AND (t.until IS NULL OR e.day < t.until)
    LEFT JOIN rates r ON r.tariff_id = t.id AND r.model = e.model
    LEFT JOIN rates u ON r.model IS NULL AND u.tariff_id = t.id AND u.model = usage_undated(e.model)
    LEFT JOIN priced x ON x.book_id = e.price_version AND x.model = e.model
    LEFT JOIN priced y ON x.model IS NULL AND y.book_id = e.price_version AND y.model = usage_undated(e.model)
    WHERE e.tenant_id = p_tenant AND e.day BETWEEN p_first AND p_last
      AND e.month BETWEEN date_trunc('month', p_first::timestamp)::date AND p_last
$$;

-- What each event of a day adds to its totals: nothing while it is open.
CREATE OR REPLACE FUNCTION usage_day_parts(p_tenant bigint, p_day date)
RETURNS TABLE (
    tenant_id bigint, day date, number bigint, state varchar, key_id bigint, skill varchar, model varchar, calls bigint,
    errors bigint, estimated_calls bigint, released_calls bigint, unpriced_calls bigint, input_tokens bigint,
    output_tokens bigint, cache_write_5m_tokens bigint, cache_write_1h_tokens bigint, cache_read_tokens bigint,
    charged_tokens bigint, cost_micros bigint, estimated_micros bigint, unpriced_micros bigint, billed_micros bigint
) LANGUAGE sql STABLE AS $$
    SELECT e.tenant_id, e.day, e.number, e.state, e.key_id, e.skill, e.model, (e.state <> 'open')::integer::bigint,
           (e.error_type <> '')::integer::bigint, (e.state = 'estimated')::integer::bigint, (e.state = 'released')::integer::bigint,
           (e.is_unpriced AND e.cost_micros > 0)::integer::bigint, e.input_tokens, e.output_tokens, e.cache_write_5m_tokens,
           e.cache_write_1h_tokens, e.cache_read_tokens, e.charged_tokens, e.cost_micros,
           CASE e.state WHEN 'estimated' THEN e.cost_micros ELSE 0 END, CASE WHEN e.is_unpriced THEN e.cost_micros ELSE 0 END,
           e.billed_micros
    FROM usage_billed_events(p_tenant, p_day, p_day) e
$$;

-- The totals of a day as its closed events have them, read from end to end.
CREATE OR REPLACE FUNCTION usage_day_totals(p_tenant bigint, p_day date)
RETURNS TABLE (
    tenant_id bigint, day date, key_id bigint, skill varchar, model varchar, calls bigint, errors bigint, estimated_calls bigint,
    released_calls bigint, unpriced_calls bigint, input_tokens bigint, output_tokens bigint, cache_write_5m_tokens bigint,
    cache_write_1h_tokens bigint, cache_read_tokens bigint, charged_tokens bigint, cost_micros bigint, estimated_micros bigint,
    unpriced_micros bigint, billed_micros bigint
) LANGUAGE sql STABLE AS $$
    SELECT p.tenant_id, p.day, p.key_id, p.skill, p.model, sum(p.calls)::bigint, sum(p.errors)::bigint, sum(p.estimated_calls)::bigint,
           sum(p.released_calls)::bigint, sum(p.unpriced_calls)::bigint, sum(p.input_tokens)::bigint, sum(p.output_tokens)::bigint,
           sum(p.cache_write_5m_tokens)::bigint, sum(p.cache_write_1h_tokens)::bigint, sum(p.cache_read_tokens)::bigint,
           sum(p.charged_tokens)::bigint, sum(p.cost_micros)::bigint, sum(p.estimated_micros)::bigint,
           sum(p.unpriced_micros)::bigint, sum(p.billed_micros)::bigint
    FROM usage_day_parts(p_tenant, p_day) p WHERE p.state <> 'open'
    GROUP BY p.tenant_id, p.day, p.key_id, p.skill, p.model
$$;

-- By what a day's totals differ from its rollup: events that are new since it was rolled, and those it knows as open or
-- estimated that are closed otherwise by now.
CREATE OR REPLACE FUNCTION usage_day_changes(p_tenant bigint, p_day date, p_rolled_number bigint)
RETURNS TABLE (
    tenant_id bigint, day date, number bigint, state varchar, is_new boolean, key_id bigint, skill varchar, model varchar,
    calls bigint, errors bigint, estimated_calls bigint, released_calls bigint, unpriced_calls bigint, input_tokens bigint,
    output_tokens bigint, cache_write_5m_tokens bigint, cache_write_1h_tokens bigint, cache_read_tokens bigint,
    charged_tokens bigint, cost_micros bigint, estimated_micros bigint, unpriced_micros bigint, billed_micros bigint
) LANGUAGE sql STABLE AS $$
    SELECT e.tenant_id, e.day, e.number, e.state, true, e.key_id, e.skill, e.model, e.calls, e.errors, e.estimated_calls,
           e.released_calls, e.unpriced_calls, e.input_tokens, e.output_tokens, e.cache_write_5m_tokens, e.cache_write_1h_tokens,
           e.cache_read_tokens, e.charged_tokens, e.cost_micros, e.estimated_micros, e.unpriced_micros, e.billed_micros
    FROM usage_day_parts(p_tenant, p_day) e WHERE e.number > p_rolled_number
    UNION ALL
    SELECT e.tenant_id, e.day, e.number, e.state, false, e.key_id, e.skill, e.model, e.calls - p.calls, e.errors - p.errors,
           e.estimated_calls - p.estimated_calls, e.released_calls - p.released_calls, e.unpriced_calls - p.unpriced_calls,
           e.input_tokens - p.input_tokens, e.output_tokens - p.output_tokens, e.cache_write_5m_tokens - p.cache_write_5m_tokens,
           e.cache_write_1h_tokens - p.cache_write_1h_tokens, e.cache_read_tokens - p.cache_read_tokens,
           e.charged_tokens - p.charged_tokens, e.cost_micros - p.cost_micros, e.estimated_micros - p.estimated_micros,
           e.unpriced_micros - p.unpriced_micros, e.billed_micros - p.billed_micros
    FROM usage_provisionalusage p JOIN usage_day_parts(p_tenant, p_day) e ON e.number = p.number AND e.state <> p.state
    WHERE p.tenant_id = p_tenant AND p.day = p_day
      -- Said twice, so that the events are found by their numbers and not by reading the day.
      AND e.number = ANY (ARRAY(SELECT o.number FROM usage_provisionalusage o WHERE o.tenant_id = p_tenant AND o.day = p_day))
$$;

-- Brings a day's rollup up to date by what changed since; the cost goes with the changes, not with the day.
-- The revision is read before the events: what commits in between is counted now, and the day is looked at once more.
-- A tenant's numbers are given under its lock, so whoever sees one sees all that are smaller.
CREATE OR REPLACE FUNCTION usage_roll_day(p_tenant bigint, p_day date) RETURNS void LANGUAGE plpgsql
SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    v_revision bigint;
    v_rolled bigint;
BEGIN
    INSERT INTO usage_dayrevision (tenant_id, day, revision, rolled_revision) VALUES (p_tenant, p_day, 0, 0) ON CONFLICT DO NOTHING;
    PERFORM pg_advisory_xact_lock(hashtext('usage_roll_day'), hashtext(p_tenant || ' ' || p_day));
    SELECT r.revision, r.rolled_number INTO v_revision, v_rolled FROM usage_dayrevision r WHERE r.tenant_id = p_tenant AND r.day = p_day;
    WITH changes AS MATERIALIZED (
        SELECT * FROM usage_day_changes(p_tenant, p_day, v_rolled)
    ), summed AS (
        INSERT INTO usage_dailyusage AS d (
            tenant_id, day, key_id, skill, model, calls, errors, estimated_calls, released_calls, unpriced_calls, input_tokens,
            output_tokens, cache_write_5m_tokens, cache_write_1h_tokens, cache_read_tokens, charged_tokens, cost_micros,
            estimated_micros, unpriced_micros, billed_micros
        )
        SELECT c.tenant_id, c.day, c.key_id, c.skill, c.model, sum(c.calls), sum(c.errors), sum(c.estimated_calls),
               sum(c.released_calls), sum(c.unpriced_calls), sum(c.input_tokens), sum(c.output_tokens),
               sum(c.cache_write_5m_tokens), sum(c.cache_write_1h_tokens), sum(c.cache_read_tokens), sum(c.charged_tokens),
               sum(c.cost_micros), sum(c.estimated_micros), sum(c.unpriced_micros), sum(c.billed_micros)
        FROM changes c WHERE c.state <> 'open'
        GROUP BY c.tenant_id, c.day, c.key_id, c.skill, c.model
        ON CONFLICT (tenant_id, day, key_id, skill, model) DO UPDATE SET
            calls = d.calls + excluded.calls, errors = d.errors + excluded.errors,
            estimated_calls = d.estimated_calls + excluded.estimated_calls,
            released_calls = d.released_calls + excluded.released_calls,
            unpriced_calls = d.unpriced_calls + excluded.unpriced_calls,
            input_tokens = d.input_tokens + excluded.input_tokens, output_tokens = d.output_tokens + excluded.output_tokens,
            cache_write_5m_tokens = d.cache_write_5m_tokens + excluded.cache_write_5m_tokens,
            cache_write_1h_tokens = d.cache_write_1h_tokens + excluded.cache_write_1h_tokens,
            cache_read_tokens = d.cache_read_tokens + excluded.cache_read_tokens,
            charged_tokens = d.charged_tokens + excluded.charged_tokens, cost_micros = d.cost_micros + excluded.cost_micros,
            estimated_micros = d.estimated_micros + excluded.estimated_micros,
            unpriced_micros = d.unpriced_micros + excluded.unpriced_micros, billed_micros = d.billed_micros + excluded.billed_micros
    ), final AS (
        DELETE FROM usage_provisionalusage p USING changes c
        WHERE NOT c.is_new AND c.state IN ('settled', 'released') AND p.tenant_id = p_tenant AND p.day = p_day AND p.number = c.number
    ), estimated AS (
        -- What is known as open counts as nothing, so the difference is the estimate itself.
        UPDATE usage_provisionalusage p SET
            state = c.state, calls = c.calls, errors = c.errors, estimated_calls = c.estimated_calls,
            released_calls = c.released_calls, unpriced_calls = c.unpriced_calls, input_tokens = c.input_tokens,
            output_tokens = c.output_tokens, cache_write_5m_tokens = c.cache_write_5m_tokens,
            cache_write_1h_tokens = c.cache_write_1h_tokens, cache_read_tokens = c.cache_read_tokens,
            charged_tokens = c.charged_tokens, cost_micros = c.cost_micros, estimated_micros = c.estimated_micros,
            unpriced_micros = c.unpriced_micros, billed_micros = c.billed_micros
        FROM changes c WHERE NOT c.is_new AND c.state = 'estimated' AND p.tenant_id = p_tenant AND p.day = p_day AND p.number = c.number
    ), provisional AS (
        INSERT INTO usage_provisionalusage (
            tenant_id, day, number, state, key_id, skill, model, calls, errors, estimated_calls, released_calls, unpriced_calls,
            input_tokens, output_tokens, cache_write_5m_tokens, cache_write_1h_tokens, cache_read_tokens, charged_tokens,
            cost_micros, estimated_micros, unpriced_micros, billed_micros
        )
        SELECT c.tenant_id, c.day, c.number, c.state, c.key_id, c.skill, c.model, c.calls, c.errors, c.estimated_calls,
               c.released_calls, c.unpriced_calls, c.input_tokens, c.output_tokens, c.cache_write_5m_tokens, c.cache_write_1h_tokens,
               c.cache_read_tokens, c.charged_tokens, c.cost_micros, c.estimated_micros, c.unpriced_micros, c.billed_micros
        FROM changes c WHERE c.is_new AND c.state IN ('open', 'estimated')
    )
    UPDATE usage_dayrevision r SET
        rolled_revision = v_revision,
        first_number = least(r.first_number, (SELECT min(c.number) FROM changes c)),
        rolled_number = greatest(r.rolled_number, (SELECT max(c.number) FROM changes c))
    WHERE r.tenant_id = p_tenant AND r.day = p_day;
END $$;

-- Forgets the rollups of a tenant's days from one on: they are made anew, each as a whole. Reports read the events meanwhile.
CREATE OR REPLACE FUNCTION usage_forget_days(p_tenant bigint, p_first date, p_last date) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM usage_lock_tenants(ARRAY[p_tenant]);
    PERFORM pg_advisory_xact_lock(hashtext('usage_roll_day'), hashtext(p_tenant || ' ' || d.day))
    FROM (SELECT r.day FROM usage_dayrevision r WHERE r.tenant_id = p_tenant AND r.day BETWEEN p_first AND p_last ORDER BY r.day) d;
    DELETE FROM usage_dailyusage d WHERE d.tenant_id = p_tenant AND d.day BETWEEN p_first AND p_last;
    DELETE FROM usage_provisionalusage p WHERE p.tenant_id = p_tenant AND p.day BETWEEN p_first AND p_last;
    UPDATE usage_dayrevision r SET revision = r.revision + 1, rolled_revision = 0, first_number = NULL, rolled_number = 0
    WHERE r.tenant_id = p_tenant AND r.day BETWEEN p_first AND p_last;
END $$;

-- Whether a day of some tenants' month changed since it was rolled.
CREATE OR REPLACE FUNCTION usage_is_behind(p_tenants bigint[], p_month date) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT 1 FROM usage_dayrevision r
        WHERE r.tenant_id = ANY (p_tenants) AND r.day >= p_month AND r.day < (p_month + interval '1 month')::date
          AND r.revision > r.rolled_revision
    )
$$;

-- By what some tenants' month differs from its rollups. What is rolled costs no thought of events: their query, with all
-- its partitions, is planned only where a day is behind.
CREATE OR REPLACE FUNCTION usage_month_changes(p_tenants bigint[], p_month date)
RETURNS TABLE (
    tenant_id bigint, day date, key_id bigint, skill varchar, model varchar, calls bigint, errors bigint, estimated_calls bigint,
    released_calls bigint, unpriced_calls bigint, input_tokens bigint, output_tokens bigint, cache_write_5m_tokens bigint,
    cache_write_1h_tokens bigint, cache_read_tokens bigint, charged_tokens bigint, cost_micros bigint, estimated_micros bigint,
    unpriced_micros bigint, billed_micros bigint
) LANGUAGE plpgsql STABLE ROWS 100 SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
BEGIN
    IF NOT usage_is_behind(p_tenants, p_month) THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT c.tenant_id, c.day, c.key_id, c.skill, c.model, c.calls, c.errors, c.estimated_calls, c.released_calls, c.unpriced_calls,
           c.input_tokens, c.output_tokens, c.cache_write_5m_tokens, c.cache_write_1h_tokens, c.cache_read_tokens, c.charged_tokens,
           c.cost_micros, c.estimated_micros, c.unpriced_micros, c.billed_micros
    FROM usage_dayrevision r CROSS JOIN LATERAL usage_day_changes(r.tenant_id, r.day, r.rolled_number) c
    WHERE r.tenant_id = ANY (p_tenants) AND r.day >= p_month AND r.day < (p_month + interval '1 month')::date
      AND r.revision > r.rolled_revision AND c.state <> 'open';
END $$;

-- The totals of some tenants' month by day, key, skill and model: the rollups, and what changed since they were rolled.
-- Read in one statement they equal the events of its snapshot, which is that of every query in here. Plain SQL, so that
-- it becomes part of the query that asks: rollups by the thousand are not written down first.
CREATE OR REPLACE FUNCTION usage_month_totals(p_tenants bigint[], p_month date)
RETURNS TABLE (
    tenant_id bigint, day date, key_id bigint, skill varchar, model varchar, calls bigint, errors bigint, estimated_calls bigint,
    released_calls bigint, unpriced_calls bigint, input_tokens bigint, output_tokens bigint, cache_write_5m_tokens bigint,
    cache_write_1h_tokens bigint, cache_read_tokens bigint, charged_tokens bigint, cost_micros bigint, estimated_micros bigint,
    unpriced_micros bigint, billed_micros bigint
) LANGUAGE sql STABLE AS $$
    SELECT d.tenant_id, d.day, d.key_id, d.skill, d.model, d.calls, d.errors, d.estimated_calls, d.released_calls, d.unpriced_calls,
           d.input_tokens, d.output_tokens, d.cache_write_5m_tokens, d.cache_write_1h_tokens, d.cache_read_tokens, d.charged_tokens,
           d.cost_micros, d.estimated_micros, d.unpriced_micros, d.billed_micros
    FROM usage_dailyusage d
    WHERE d.tenant_id = ANY (p_tenants) AND d.day >= p_month AND d.day < (p_month + interval '1 month')::date
    UNION ALL
    SELECT * FROM usage_month_changes(p_tenants, p_month)
$$;

-- The numbers of some tenants' events of a month: how many are open, the first and the last; up to two rows for each
-- tenant, of what is rolled or open and of what changed since.
CREATE OR REPLACE FUNCTION usage_month_numbers(p_tenants bigint[], p_month date)
RETURNS TABLE (tenant_id bigint, open bigint, first_number bigint, last_number bigint)
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT n.tenant_id, sum(n.open)::bigint, min(n.first_number), max(n.last_number) FROM (
        SELECT e.tenant_id, count(*) AS open, min(e.number) AS first_number, max(e.number) AS last_number
        FROM usage_event e WHERE e.state = 'open' AND e.tenant_id = ANY (p_tenants) AND e.month = p_month GROUP BY e.tenant_id
        UNION ALL
        SELECT r.tenant_id, 0, r.first_number, nullif(r.rolled_number, 0) FROM usage_dayrevision r
        WHERE r.tenant_id = ANY (p_tenants) AND r.day >= p_month AND r.day < (p_month + interval '1 month')::date
    ) n GROUP BY n.tenant_id;
    IF NOT usage_is_behind(p_tenants, p_month) THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT r.tenant_id, 0::bigint, min(c.number), max(c.number)
    FROM usage_dayrevision r CROSS JOIN LATERAL usage_day_changes(r.tenant_id, r.day, r.rolled_number) c
    WHERE r.tenant_id = ANY (p_tenants) AND r.day >= p_month AND r.day < (p_month + interval '1 month')::date
      AND r.revision > r.rolled_revision AND c.is_new
    GROUP BY r.tenant_id;
END $$;
