-- The ledger's verbs. One rule of locking: whoever writes a tenant's accounts or opens or closes its events
-- first locks the tenant's tally row; whoever needs several tenants locks them by ascending id.

-- The only clock of months, days and leases. Tests replace this function.
CREATE FUNCTION usage_clock() RETURNS timestamptz LANGUAGE sql VOLATILE AS 'SELECT clock_timestamp()';

CREATE FUNCTION usage_lock_tenants(p_tenants bigint[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM usage_tenanttally WHERE tenant_id = ANY (p_tenants) ORDER BY tenant_id FOR UPDATE;
    IF (SELECT count(*) FROM usage_tenanttally WHERE tenant_id = ANY (p_tenants)) < cardinality(p_tenants) THEN
        INSERT INTO usage_tenanttally (tenant_id, last_number)
            SELECT id, 0 FROM tenants_tenant WHERE id = ANY (p_tenants) ORDER BY id ON CONFLICT DO NOTHING;
        PERFORM 1 FROM usage_tenanttally WHERE tenant_id = ANY (p_tenants) ORDER BY tenant_id FOR UPDATE;
    END IF;
END $$;

-- Opens the accounts that a tenant's budgets need for a month and a day and that do not exist yet. A budget made
-- in the middle of its window starts with all that its scope has used and holds reserved in that window.
CREATE FUNCTION usage_open_accounts(p_tenant bigint, p_month date, p_day date) RETURNS void LANGUAGE sql AS $$
    INSERT INTO usage_budgetaccount (
        tenant_id, key_id, skill, "window", period, reserved_tokens, settled_tokens, reserved_micros, settled_micros
    )
    SELECT b.tenant_id, b.key_id, b.skill, b."window", p.period, used.reserved_tokens, used.settled_tokens,
           used.reserved_micros, used.settled_micros
    FROM tenants_budget b
    CROSS JOIN LATERAL (SELECT CASE b."window" WHEN 'month' THEN p_month ELSE p_day END AS period) p
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(e.reserved_tokens) FILTER (WHERE e.state = 'open'), 0) AS reserved_tokens,
               coalesce(sum(e.charged_tokens), 0) AS settled_tokens,
               coalesce(sum(e.reserved_micros) FILTER (WHERE e.state = 'open'), 0) AS reserved_micros,
               coalesce(sum(e.cost_micros), 0) AS settled_micros
        FROM usage_event e
        WHERE e.tenant_id = b.tenant_id AND e.month = p_month AND (b."window" = 'month' OR e.day = p_day)
          AND (b.key_id IS NULL OR e.family_id = b.key_id) AND (b.skill = '' OR e.skill = b.skill)
    ) used
    WHERE b.tenant_id = p_tenant AND NOT EXISTS (
        SELECT 1 FROM usage_budgetaccount a
        WHERE a.tenant_id = b.tenant_id AND a."window" = b."window" AND a.period = p.period
          AND a.key_id IS NOT DISTINCT FROM b.key_id AND a.skill = b.skill
    );
$$;

-- Every account of a tenant in a month and a day, with its limits (NULL: none) including increases in force.
CREATE FUNCTION usage_accounts(p_tenant bigint, p_month date, p_day date, p_now timestamptz)
RETURNS TABLE (
    id bigint, key_id bigint, skill varchar, "window" varchar, period date, limit_tokens bigint, limit_micros bigint,
    settled_tokens bigint, reserved_tokens bigint, settled_micros bigint, reserved_micros bigint
) LANGUAGE sql STABLE AS $$
    SELECT a.id, a.key_id, a.skill, a."window", a.period,
           b.limit_tokens + coalesce(i.extra_tokens, 0)::bigint, b.limit_micros + coalesce(i.extra_micros, 0)::bigint,
           a.settled_tokens, a.reserved_tokens, a.settled_micros, a.reserved_micros
    FROM usage_budgetaccount a
    LEFT JOIN tenants_budget b ON b.tenant_id = a.tenant_id AND b."window" = a."window"
        AND b.key_id IS NOT DISTINCT FROM a.key_id AND b.skill = a.skill
    LEFT JOIN LATERAL (
        SELECT sum(x.extra_tokens) AS extra_tokens, sum(x.extra_micros) AS extra_micros
        FROM tenants_budgetincrease x WHERE x.budget_id = b.id AND x.starts_at <= p_now AND x.ends_at > p_now
    ) i ON true
    WHERE a.tenant_id = p_tenant AND ((a."window" = 'month' AND a.period = p_month) OR (a."window" = 'day' AND a.period = p_day))
$$;

-- Admits all the calls of one tenant if all fit; else each in turn, so that a refusal refuses only its call.
-- The caller holds the tenant's lock and has opened its accounts.
CREATE FUNCTION usage_admit(p_tenant bigint, p_calls jsonb, p_now timestamptz, p_month date, p_day date)
RETURNS TABLE (ordinal integer, outcome text, number bigint, detail jsonb) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_asks jsonb;
    v_fits boolean;
    v_call jsonb;
    v_last bigint;
BEGIN
    SELECT coalesce(jsonb_agg(to_jsonb(s)), '[]'), coalesce(bool_and(s.fits), false) INTO v_asks, v_fits
    FROM (
        SELECT a.*, sum(c.tokens)::bigint AS ask_tokens, sum(c.micros)::bigint AS ask_micros,
               (a.limit_tokens IS NULL OR a.settled_tokens + a.reserved_tokens + sum(c.tokens) <= a.limit_tokens)
               AND (a.limit_micros IS NULL OR a.settled_micros + a.reserved_micros + sum(c.micros) <= a.limit_micros) AS fits
        FROM usage_accounts(p_tenant, p_month, p_day, p_now) a
        JOIN jsonb_to_recordset(p_calls) AS c (family_id bigint, skill text, tokens bigint, micros bigint)
            ON (a.key_id IS NULL OR a.key_id = c.family_id) AND (a.skill = '' OR a.skill = c.skill)
        GROUP BY a.id, a.key_id, a.skill, a."window", a.period, a.limit_tokens, a.limit_micros,
                 a.settled_tokens, a.reserved_tokens, a.settled_micros, a.reserved_micros
    ) s;

    IF NOT v_fits AND jsonb_array_length(p_calls) = 1 THEN
        RETURN QUERY SELECT (p_calls -> 0 ->> 'ordinal')::integer, 'budget', NULL::bigint,
            jsonb_build_object('accounts', v_asks, 'month', p_month, 'day', p_day, 'now', p_now);
        RETURN;
    END IF;
    IF NOT v_fits THEN
        FOR v_call IN SELECT value FROM jsonb_array_elements(p_calls) LOOP
            RETURN QUERY SELECT * FROM usage_admit(p_tenant, jsonb_build_array(v_call), p_now, p_month, p_day);
        END LOOP;
        RETURN;
    END IF;

    UPDATE usage_budgetaccount a
    SET reserved_tokens = a.reserved_tokens + s.ask_tokens, reserved_micros = a.reserved_micros + s.ask_micros
    FROM jsonb_to_recordset(v_asks) AS s (id bigint, ask_tokens bigint, ask_micros bigint) WHERE a.id = s.id;

    UPDATE usage_tenanttally SET last_number = last_number + jsonb_array_length(p_calls)
    WHERE tenant_id = p_tenant RETURNING last_number - jsonb_array_length(p_calls) INTO v_last;

    RETURN QUERY
    WITH opened AS (
        INSERT INTO usage_event (
            id, month, day, number, tenant_id, key_id, family_id, run_id, attempt, purpose, request_id, entry_point,
            skill, skill_version, model, state, reserved_tokens, reserved_output_tokens, reserved_micros, price_version,
            opened_at, lease_until
        )
        SELECT c.id, p_month, p_day, v_last + row_number() OVER (ORDER BY c.ordinal), p_tenant, c.key_id, c.family_id,
               c.run_id, c.attempt, c.purpose, c.request_id, c.entry_point, c.skill, c.skill_version, c.model, 'open',
               c.tokens, c.output_tokens, c.micros, c.price_version, p_now, p_now + make_interval(secs => c.lease_seconds)
        FROM jsonb_to_recordset(p_calls) AS c (
            ordinal integer, id uuid, key_id bigint, family_id bigint, run_id uuid, attempt smallint, purpose text,
            request_id text, entry_point text, skill text, skill_version integer, model text, tokens bigint,
            output_tokens bigint, micros bigint, price_version integer, lease_seconds double precision
        )
        RETURNING id, number
    )
    SELECT c.ordinal, 'open', o.number, jsonb_build_object('month', p_month, 'opened_at', p_now)
    FROM opened o JOIN jsonb_to_recordset(p_calls) AS c (ordinal integer, id uuid) ON c.id = o.id;
END $$;

-- Reserves for calls of any tenants. Outcomes: open, budget, inactive (key or tenant), unbudgeted.
CREATE FUNCTION usage_reserve(p_calls jsonb)
RETURNS TABLE (ordinal integer, outcome text, number bigint, detail jsonb) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_tenant bigint;
    v_now timestamptz;
    v_local timestamp;
    v_calls jsonb;
BEGIN
    PERFORM usage_lock_tenants(ARRAY(SELECT DISTINCT (c ->> 'tenant_id')::bigint FROM jsonb_array_elements(p_calls) c));
    FOR v_tenant IN SELECT DISTINCT (c ->> 'tenant_id')::bigint FROM jsonb_array_elements(p_calls) c ORDER BY 1 LOOP
        v_now := usage_clock();
        -- FOR SHARE: a revocation commits wholly before this admission or wholly after it.
        SELECT v_now AT TIME ZONE t.timezone INTO v_local FROM tenants_tenant t WHERE t.id = v_tenant AND t.status = 'active' FOR SHARE;
        PERFORM 1 FROM tenants_apikey k
        WHERE k.tenant_id = v_tenant
          AND k.id IN (SELECT (c ->> 'key_id')::bigint FROM jsonb_array_elements(p_calls) c) ORDER BY k.id FOR SHARE;
        SELECT jsonb_agg(c ORDER BY (c ->> 'ordinal')::integer) INTO v_calls
        FROM jsonb_array_elements(p_calls) c
        JOIN tenants_apikey k ON k.id = (c ->> 'key_id')::bigint AND k.tenant_id = v_tenant
            AND coalesce(k.family_id, k.id) = (c ->> 'family_id')::bigint
            AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > v_now)
        WHERE (c ->> 'tenant_id')::bigint = v_tenant AND v_local IS NOT NULL;

        RETURN QUERY SELECT (c ->> 'ordinal')::integer, 'inactive', NULL::bigint, NULL::jsonb
        FROM jsonb_array_elements(p_calls) c
        WHERE (c ->> 'tenant_id')::bigint = v_tenant
          AND NOT EXISTS (SELECT 1 FROM jsonb_array_elements(v_calls) k WHERE k ->> 'ordinal' = c ->> 'ordinal');
        CONTINUE WHEN v_calls IS NULL;

        RETURN QUERY SELECT (c ->> 'ordinal')::integer, 'unbudgeted', NULL::bigint, NULL::jsonb
        FROM jsonb_array_elements(v_calls) c WHERE NOT usage_is_budgeted(v_tenant, (c ->> 'family_id')::bigint);
        SELECT jsonb_agg(c ORDER BY (c ->> 'ordinal')::integer) INTO v_calls
        FROM jsonb_array_elements(v_calls) c WHERE usage_is_budgeted(v_tenant, (c ->> 'family_id')::bigint);
        CONTINUE WHEN v_calls IS NULL;

        PERFORM usage_open_accounts(v_tenant, date_trunc('month', v_local)::date, v_local::date);
        RETURN QUERY SELECT * FROM usage_admit(v_tenant, v_calls, v_now, date_trunc('month', v_local)::date, v_local::date);
    END LOOP;
END $$;

-- Whether the tenant and the key both have the monthly budget without which nothing may be spent.
CREATE FUNCTION usage_is_budgeted(p_tenant bigint, p_family bigint) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT count(*) = 2 FROM tenants_budget b
    WHERE b.tenant_id = p_tenant AND b."window" = 'month' AND b.skill = '' AND (b.key_id IS NULL OR b.key_id = p_family)
$$;

-- Closes events: open → settled, released or estimated, and estimated → settled or released by the difference.
-- `lapsed_only` closes an event only while its lease is over. Outcomes: closed, kept (with the state), missing.
CREATE FUNCTION usage_settle(p_items jsonb)
RETURNS TABLE (ordinal integer, outcome text, state text, over_tokens bigint) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz;
    v_closed jsonb;
BEGIN
    PERFORM usage_lock_tenants(ARRAY(SELECT DISTINCT (i ->> 'tenant_id')::bigint FROM jsonb_array_elements(p_items) i));
    v_now := usage_clock();
    WITH item AS (
        SELECT * FROM jsonb_to_recordset(p_items) AS i (
            ordinal integer, id uuid, month date, tenant_id bigint, state text, input_tokens bigint, output_tokens bigint,
            cache_write_5m_tokens bigint, cache_write_1h_tokens bigint, cache_read_tokens bigint, cost_micros bigint,
            stop_reason text, error_type text, upstream_request_id text, service_tier text, first_output_ms integer,
            duration_ms integer, lapsed_only boolean
        )
    ), old AS (
        SELECT e.id, e.month, e.state AS old_state, e.charged_tokens AS old_tokens, e.cost_micros AS old_micros, item.ordinal
        FROM usage_event e JOIN item ON e.id = item.id AND e.month = item.month AND e.tenant_id = item.tenant_id
        WHERE (e.state = 'open' AND (NOT item.lapsed_only OR e.lease_until < v_now))
           OR (e.state = 'estimated' AND item.state IN ('settled', 'released'))
        FOR UPDATE OF e
    ), closed AS (
        UPDATE usage_event e
        SET state = i.state, input_tokens = i.input_tokens, output_tokens = i.output_tokens,
            cache_write_5m_tokens = i.cache_write_5m_tokens, cache_write_1h_tokens = i.cache_write_1h_tokens,
            cache_read_tokens = i.cache_read_tokens,
            charged_tokens = i.input_tokens + i.output_tokens + i.cache_write_5m_tokens + i.cache_write_1h_tokens + i.cache_read_tokens,
            cost_micros = i.cost_micros, stop_reason = i.stop_reason, error_type = i.error_type,
            upstream_request_id = i.upstream_request_id, service_tier = i.service_tier,
            first_output_ms = i.first_output_ms, duration_ms = i.duration_ms, closed_at = v_now
        FROM old JOIN item i ON i.ordinal = old.ordinal
        WHERE e.id = old.id AND e.month = old.month
        RETURNING i.ordinal, e.tenant_id, e.family_id, e.skill, e.month, e.day, e.state,
                  CASE old.old_state WHEN 'open' THEN e.reserved_tokens ELSE 0 END AS freed_tokens,
                  CASE old.old_state WHEN 'open' THEN e.reserved_micros ELSE 0 END AS freed_micros,
                  e.charged_tokens - old.old_tokens AS added_tokens, e.cost_micros - old.old_micros AS added_micros,
                  greatest(e.charged_tokens - e.reserved_tokens, 0) AS over_tokens
    )
    SELECT jsonb_agg(to_jsonb(closed)) INTO v_closed FROM closed;

    UPDATE usage_budgetaccount a
    SET reserved_tokens = a.reserved_tokens - d.freed_tokens, settled_tokens = a.settled_tokens + d.added_tokens,
        reserved_micros = a.reserved_micros - d.freed_micros, settled_micros = a.settled_micros + d.added_micros
    FROM (
        SELECT a.id, sum(c.freed_tokens)::bigint AS freed_tokens, sum(c.added_tokens)::bigint AS added_tokens,
               sum(c.freed_micros)::bigint AS freed_micros, sum(c.added_micros)::bigint AS added_micros
        FROM jsonb_to_recordset(v_closed) AS c (
            tenant_id bigint, family_id bigint, skill text, month date, day date, freed_tokens bigint, freed_micros bigint,
            added_tokens bigint, added_micros bigint
        )
        JOIN usage_budgetaccount a ON a.tenant_id = c.tenant_id
            AND ((a."window" = 'month' AND a.period = c.month) OR (a."window" = 'day' AND a.period = c.day))
            AND (a.key_id IS NULL OR a.key_id = c.family_id) AND (a.skill = '' OR a.skill = c.skill)
        GROUP BY a.id
    ) d
    WHERE a.id = d.id;

    RETURN QUERY
    SELECT i.ordinal,
           CASE WHEN c.ordinal IS NOT NULL THEN 'closed' WHEN e.id IS NOT NULL THEN 'kept' ELSE 'missing' END,
           coalesce(c.state, e.state::text), coalesce(c.over_tokens, 0)
    FROM jsonb_to_recordset(p_items) AS i (ordinal integer, id uuid, month date, tenant_id bigint)
    LEFT JOIN jsonb_to_recordset(v_closed) AS c (ordinal integer, state text, over_tokens bigint) ON c.ordinal = i.ordinal
    LEFT JOIN usage_event e ON e.id = i.id AND e.month = i.month AND e.tenant_id = i.tenant_id;
END $$;

-- Settles, then reserves, in one transaction: what a process has waiting goes as one statement.
CREATE FUNCTION usage_apply(p_settle jsonb, p_reserve jsonb)
RETURNS TABLE (kind text, ordinal integer, outcome text, number bigint, state text, over_tokens bigint, detail jsonb)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    PERFORM usage_lock_tenants(
        ARRAY(SELECT DISTINCT (c ->> 'tenant_id')::bigint FROM jsonb_array_elements(p_settle || p_reserve) c)
    );
    IF p_settle <> '[]' THEN
        RETURN QUERY SELECT 'settle', s.ordinal, s.outcome, NULL::bigint, s.state, s.over_tokens, NULL::jsonb FROM usage_settle(p_settle) s;
    END IF;
    IF p_reserve <> '[]' THEN
        RETURN QUERY SELECT 'reserve', r.ordinal, r.outcome, r.number, NULL, NULL::bigint, r.detail FROM usage_reserve(p_reserve) r;
    END IF;
END $$;

-- Renews the leases of a process's open events and says which must end: key or tenant inactive, or closed by others.
-- SKIP LOCKED: an event that is being settled needs no lease, and waiting for it could deadlock.
CREATE FUNCTION usage_heartbeat(p_events jsonb, p_lease_seconds double precision)
RETURNS TABLE (id uuid, verdict text) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz := usage_clock();
BEGIN
    UPDATE usage_event e SET lease_until = v_now + make_interval(secs => p_lease_seconds)
    FROM (
        SELECT e.id, e.month FROM usage_event e
        JOIN jsonb_to_recordset(p_events) AS p (id uuid, month date) ON e.id = p.id AND e.month = p.month
        WHERE e.state = 'open' FOR UPDATE OF e SKIP LOCKED
    ) mine
    WHERE e.id = mine.id AND e.month = mine.month;

    RETURN QUERY
    SELECT p.id, CASE
        WHEN e.id IS NULL OR e.state <> 'open' THEN 'closed'
        WHEN k.revoked_at IS NOT NULL OR k.expires_at <= v_now OR t.status <> 'active' THEN 'inactive'
        ELSE 'go_on' END
    FROM jsonb_to_recordset(p_events) AS p (id uuid, month date)
    LEFT JOIN usage_event e ON e.id = p.id AND e.month = p.month
    LEFT JOIN tenants_apikey k ON k.id = e.key_id
    LEFT JOIN tenants_tenant t ON t.id = e.tenant_id;
END $$;

-- Closes lapsed events as estimated at their whole reservation; returns how many. One sweeper at a time.
CREATE FUNCTION usage_sweep(p_most integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    v_items jsonb;
    v_closed integer;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtext('usage_sweep')) THEN
        RETURN 0;
    END IF;
    SELECT jsonb_agg(to_jsonb(l)) INTO v_items FROM (
        SELECT row_number() OVER () AS ordinal, e.id, e.month, e.tenant_id, 'estimated' AS state,
               e.reserved_tokens - e.reserved_output_tokens AS input_tokens, e.reserved_output_tokens AS output_tokens,
               0 AS cache_write_5m_tokens, 0 AS cache_write_1h_tokens, 0 AS cache_read_tokens, e.reserved_micros AS cost_micros,
               '' AS stop_reason, 'lease_lapsed' AS error_type, '' AS upstream_request_id, '' AS service_tier, true AS lapsed_only
        FROM usage_event e WHERE e.state = 'open' AND e.lease_until < usage_clock() ORDER BY e.lease_until LIMIT p_most
    ) l;
    IF v_items IS NULL THEN
        RETURN 0;
    END IF;
    SELECT count(*) INTO v_closed FROM usage_settle(v_items) s WHERE s.outcome = 'closed';
    RETURN v_closed;
END $$;
