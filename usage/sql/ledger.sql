-- The ledger's verbs. One rule of locking: whoever writes a tenant's accounts or opens or closes its events
-- first locks the tenant's tally row; whoever needs several tenants locks them by ascending id, all at once.
--
-- The planner's choices are pinned where they matter: a plan made while a month's partition is still empty reads it
-- from end to end, and is kept until the next ANALYZE; with some thousand events that is 80 ms instead of 2.

-- The only clock of months, days and leases. Tests replace this function.
CREATE FUNCTION usage_clock() RETURNS timestamptz LANGUAGE sql VOLATILE AS 'SELECT clock_timestamp()';

-- A tenant without a tally row cannot spend: its calls would get no number, and an event must have one.
CREATE FUNCTION usage_lock_tenants(p_tenants bigint[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM usage_tenanttally WHERE tenant_id = ANY (p_tenants) ORDER BY tenant_id FOR UPDATE;
END $$;

CREATE FUNCTION usage_give_tally() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO usage_tenanttally (tenant_id, last_number) VALUES (NEW.id, 0);
    RETURN NULL;
END $$;
CREATE TRIGGER tenant_has_a_tally AFTER INSERT ON tenants_tenant FOR EACH ROW EXECUTE FUNCTION usage_give_tally();
INSERT INTO usage_tenanttally (tenant_id, last_number) SELECT id, 0 FROM tenants_tenant;

-- A call that asks to be admitted, and how an event is to be closed, as the processes send them.
CREATE TYPE usage_call AS (
    ordinal integer, id uuid, tenant_id bigint, key_id bigint, family_id bigint, run_id uuid, attempt smallint, purpose text,
    request_id text, entry_point text, skill text, skill_version integer, model text, route text, tokens bigint, output_tokens bigint,
    micros bigint, price_version integer, lease_seconds double precision
);
CREATE TYPE usage_closing AS (
    ordinal integer, id uuid, month date, tenant_id bigint, state text, input_tokens bigint, output_tokens bigint,
    cache_write_5m_tokens bigint, cache_write_1h_tokens bigint, cache_read_tokens bigint, cost_micros bigint, stop_reason text,
    error_type text, upstream_request_id text, service_tier text, first_output_ms integer, duration_ms integer, lapsed_only boolean
);
-- One answer to one of them. Outcomes of calls: open, budget, inactive (key or tenant), unbudgeted;
-- of closings: closed, kept (with the state it has), missing.
CREATE TYPE usage_answer AS (
    ordinal integer, outcome text, state text, month date, number bigint, opened_at timestamptz, over_tokens bigint,
    over_micros bigint, detail jsonb
);

-- Opens the accounts that the budgets of these owners (families' ids, and 0: the tenant itself) need for a month and
-- a day and that do not exist yet. A budget made in the middle of its window starts with all that its scope has used
-- and holds reserved in that window.
CREATE FUNCTION usage_open_accounts(p_tenant bigint, p_owners bigint[], p_month date, p_day date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_missing bigint[];
BEGIN
    -- Asked first and apart: the sums below cost a scan of the tenant's month.
    SELECT array_agg(b.id) INTO v_missing FROM tenants_budget b
    WHERE b.tenant_id = p_tenant AND coalesce(b.key_id, 0) = ANY (p_owners) AND NOT EXISTS (
        SELECT 1 FROM usage_budgetaccount a
        WHERE a.tenant_id = p_tenant AND a.period = CASE b."window" WHEN 'month' THEN p_month ELSE p_day END
          AND coalesce(a.key_id, 0) = coalesce(b.key_id, 0) AND a."window" = b."window" AND a.skill = b.skill
    );
    IF v_missing IS NULL THEN
        RETURN;
    END IF;
    INSERT INTO usage_budgetaccount (
        tenant_id, key_id, skill, "window", period, reserved_tokens, settled_tokens, reserved_micros, settled_micros
    )
    SELECT b.tenant_id, b.key_id, b.skill, b."window", CASE b."window" WHEN 'month' THEN p_month ELSE p_day END,
           coalesce(sum(e.reserved_tokens) FILTER (WHERE e.state = 'open'), 0), coalesce(sum(e.charged_tokens), 0),
           coalesce(sum(e.reserved_micros) FILTER (WHERE e.state = 'open'), 0), coalesce(sum(e.cost_micros), 0)
    FROM tenants_budget b
    LEFT JOIN usage_event e
        ON e.tenant_id = b.tenant_id AND e.month = p_month AND (b."window" = 'month' OR e.day = p_day)
        AND (b.key_id IS NULL OR e.family_id = b.key_id) AND (b.skill = '' OR e.skill = b.skill)
    WHERE b.id = ANY (v_missing)
    GROUP BY b.id;
END $$;

-- The accounts of some owners in a month and a day, with their limits (NULL: none), with and without the increases
-- in force.
CREATE FUNCTION usage_accounts(p_tenant bigint, p_owners bigint[], p_month date, p_day date, p_now timestamptz)
RETURNS TABLE (
    id bigint, key_id bigint, skill varchar, "window" varchar, period date, limit_tokens bigint, limit_micros bigint,
    base_tokens bigint, base_micros bigint, settled_tokens bigint, reserved_tokens bigint, settled_micros bigint,
    reserved_micros bigint
) LANGUAGE sql STABLE AS $$
    SELECT a.id, a.key_id, a.skill, a."window", a.period,
           b.limit_tokens + coalesce(i.extra_tokens, 0)::bigint, b.limit_micros + coalesce(i.extra_micros, 0)::bigint,
           b.limit_tokens, b.limit_micros,
           a.settled_tokens, a.reserved_tokens, a.settled_micros, a.reserved_micros
    FROM usage_budgetaccount a
    LEFT JOIN tenants_budget b ON b.tenant_id = p_tenant AND coalesce(b.key_id, 0) = coalesce(a.key_id, 0)
        AND b."window" = a."window" AND b.skill = a.skill
    LEFT JOIN LATERAL (
        SELECT sum(x.extra_tokens) AS extra_tokens, sum(x.extra_micros) AS extra_micros
        FROM tenants_budgetincrease x WHERE x.budget_id = b.id AND x.starts_at <= p_now AND x.ends_at > p_now
    ) i ON true
    WHERE a.tenant_id = p_tenant AND a.period IN (p_month, p_day) AND coalesce(a.key_id, 0) = ANY (p_owners)
      AND a.period = CASE a."window" WHEN 'month' THEN p_month ELSE p_day END
$$;

-- The reserve condition: whether what is asked fits what a limit leaves.
CREATE FUNCTION usage_fits(p_ask bigint, p_limit bigint, p_settled bigint, p_reserved bigint) RETURNS boolean
LANGUAGE sql IMMUTABLE AS 'SELECT p_limit IS NULL OR p_settled + p_reserved + p_ask <= p_limit';

-- Admits all the calls of one tenant if all fit; else its halves in turn, so that a refusal refuses only its call and
-- the outcome is that of admitting them one by one. The caller holds the tenant's lock and has opened its accounts.
CREATE FUNCTION usage_admit(p_tenant bigint, p_calls usage_call[], p_now timestamptz, p_month date, p_day date)
RETURNS SETOF usage_answer LANGUAGE plpgsql AS $$
DECLARE
    v_size integer := cardinality(p_calls);
    v_families bigint[] := ARRAY(SELECT DISTINCT c.family_id FROM unnest(p_calls) c);
    v_asks jsonb;
    v_ids bigint[];
    v_tokens bigint[];
    v_micros bigint[];
    v_fits boolean;
    v_is_budgeted boolean;
    v_last bigint;
BEGIN
    -- One row per account with what all the calls in its scope ask of it.
    SELECT array_agg(s.id), array_agg(s.ask_tokens), array_agg(s.ask_micros), bool_and(s.fits),
           count(*) FILTER (WHERE s."window" = 'month' AND s.skill = '' AND s.limit_tokens IS NOT NULL) = 1 + cardinality(v_families),
           CASE WHEN v_size = 1 THEN jsonb_agg(to_jsonb(s)) END
    INTO v_ids, v_tokens, v_micros, v_fits, v_is_budgeted, v_asks
    FROM (
        SELECT a.*, g.ask_tokens, g.ask_micros,
               usage_fits(g.ask_tokens, a.limit_tokens, a.settled_tokens, a.reserved_tokens)
               AND usage_fits(g.ask_micros, a.limit_micros, a.settled_micros, a.reserved_micros) AS fits
        FROM usage_accounts(p_tenant, 0 || v_families, p_month, p_day, p_now) a
        CROSS JOIN LATERAL (
            SELECT sum(c.tokens)::bigint AS ask_tokens, sum(c.micros)::bigint AS ask_micros FROM unnest(p_calls) c
            WHERE (a.key_id IS NULL OR a.key_id = c.family_id) AND (a.skill = '' OR a.skill = c.skill)
        ) g
        WHERE g.ask_tokens IS NOT NULL
    ) s;

    IF v_fits IS NOT TRUE OR NOT v_is_budgeted THEN
        IF v_size > 1 THEN
            RETURN QUERY SELECT * FROM usage_admit(p_tenant, p_calls[:v_size / 2], p_now, p_month, p_day);
            RETURN QUERY SELECT * FROM usage_admit(p_tenant, p_calls[v_size / 2 + 1:], p_now, p_month, p_day);
            RETURN;
        END IF;
        RETURN NEXT (
            p_calls[1].ordinal, CASE WHEN v_is_budgeted THEN 'budget' ELSE 'unbudgeted' END, NULL, p_month, NULL, p_now, NULL, NULL,
            jsonb_build_object('accounts', v_asks)
        )::usage_answer;
        RETURN;
    END IF;

    UPDATE usage_budgetaccount a
    SET reserved_tokens = a.reserved_tokens + s.ask_tokens, reserved_micros = a.reserved_micros + s.ask_micros
    FROM unnest(v_ids, v_tokens, v_micros) AS s (id, ask_tokens, ask_micros) WHERE a.id = s.id;

    UPDATE usage_tenanttally SET last_number = last_number + v_size WHERE tenant_id = p_tenant
    RETURNING last_number - v_size INTO v_last;

    INSERT INTO usage_event (
        id, month, day, number, tenant_id, key_id, family_id, run_id, attempt, purpose, request_id, entry_point,
        skill, skill_version, model, route, state, reserved_tokens, reserved_output_tokens, reserved_micros, price_version,
        opened_at, lease_until
    )
    SELECT c.id, p_month, p_day, v_last + c.place, p_tenant, c.key_id, c.family_id,
           c.run_id, c.attempt, c.purpose, c.request_id, c.entry_point, c.skill, c.skill_version, c.model, c.route, 'open',
           c.tokens, c.output_tokens, c.micros, c.price_version, p_now, p_now + make_interval(secs => c.lease_seconds)
    FROM unnest(p_calls) WITH ORDINALITY AS c (
        ordinal, id, tenant_id, key_id, family_id, run_id, attempt, purpose, request_id, entry_point, skill, skill_version,
        model, route, tokens, output_tokens, micros, price_version, lease_seconds, place
    );
    RETURN QUERY SELECT c.ordinal, 'open', 'open', p_month, v_last + row_number() OVER (), p_now, 0::bigint, 0::bigint, NULL::jsonb
    FROM unnest(p_calls) c;
END $$;

-- Reserves for the calls of one tenant, whose lock the caller holds.
CREATE FUNCTION usage_reserve(p_tenant bigint, p_calls usage_call[]) RETURNS SETOF usage_answer LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    v_now timestamptz := usage_clock();
    v_local timestamp;
    v_active usage_call[];
BEGIN
    -- FOR SHARE: a revocation commits wholly before this admission or wholly after it.
    SELECT v_now AT TIME ZONE t.timezone INTO v_local FROM tenants_tenant t WHERE t.id = p_tenant AND t.status = 'active' FOR SHARE;
    IF FOUND THEN
        WITH active AS MATERIALIZED (
            SELECT k.id, coalesce(k.family_id, k.id) AS family_id FROM tenants_apikey k
            WHERE k.tenant_id = p_tenant AND k.id = ANY (ARRAY(SELECT DISTINCT c.key_id FROM unnest(p_calls) c))
              AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > v_now)
            ORDER BY k.id FOR SHARE
        )
        SELECT array_agg(c ORDER BY c.ordinal) INTO v_active FROM unnest(p_calls) c
        JOIN active ON active.id = c.key_id AND active.family_id = c.family_id;
    END IF;
    IF cardinality(v_active) IS DISTINCT FROM cardinality(p_calls) THEN
        RETURN QUERY
        SELECT c.ordinal, 'inactive', NULL::text, NULL::date, NULL::bigint, v_now, 0::bigint, 0::bigint, NULL::jsonb FROM unnest(p_calls) c
        WHERE NOT EXISTS (SELECT 1 FROM unnest(v_active) k WHERE k.ordinal = c.ordinal);
    END IF;
    IF v_active IS NULL THEN
        RETURN;
    END IF;
    PERFORM usage_open_accounts(
        p_tenant, 0 || ARRAY(SELECT DISTINCT c.family_id FROM unnest(v_active) c), date_trunc('month', v_local)::date, v_local::date
    );
    RETURN QUERY SELECT * FROM usage_admit(p_tenant, v_active, v_now, date_trunc('month', v_local)::date, v_local::date);
END $$;

-- Closes events of tenants whose locks the caller holds: open → settled, released or estimated, and estimated →
-- settled or released by the difference. `lapsed_only` closes an event only while its lease is over.
-- IS NOT DISTINCT FROM: an equality of tenants could be looked up by other indexes than the primary key, which in a
-- month without statistics seem as good and find all of the tenant's events.
CREATE OR REPLACE FUNCTION usage_close(p_items usage_closing[]) RETURNS SETOF usage_answer LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    v_now timestamptz := usage_clock();
    v_answers usage_answer[];
BEGIN
    WITH closed AS (
        UPDATE usage_event e
        SET state = i.state, input_tokens = i.input_tokens, output_tokens = i.output_tokens,
            cache_write_5m_tokens = i.cache_write_5m_tokens, cache_write_1h_tokens = i.cache_write_1h_tokens,
            cache_read_tokens = i.cache_read_tokens,
            charged_tokens = i.input_tokens + i.output_tokens + i.cache_write_5m_tokens + i.cache_write_1h_tokens + i.cache_read_tokens,
            cost_micros = i.cost_micros, stop_reason = i.stop_reason, error_type = i.error_type,
            upstream_request_id = i.upstream_request_id, service_tier = i.service_tier,
            first_output_ms = i.first_output_ms, duration_ms = i.duration_ms, closed_at = v_now
        FROM unnest(p_items) i
        WHERE e.id = i.id AND e.month = i.month AND e.tenant_id IS NOT DISTINCT FROM i.tenant_id
          AND ((e.state = 'open' AND (NOT i.lapsed_only OR e.lease_until < v_now))
               OR (e.state = 'estimated' AND i.state IN ('settled', 'released')))
        RETURNING i.ordinal, e.tenant_id, e.family_id, e.skill, e.month, e.day, e.state, e.number, e.opened_at,
                  CASE old.state WHEN 'open' THEN e.reserved_tokens ELSE 0 END AS freed_tokens,
                  CASE old.state WHEN 'open' THEN e.reserved_micros ELSE 0 END AS freed_micros,
                  e.charged_tokens - old.charged_tokens AS added_tokens, e.cost_micros - old.cost_micros AS added_micros,
                  greatest(e.charged_tokens - e.reserved_tokens, 0) AS over_tokens,
                  greatest(e.cost_micros - e.reserved_micros, 0) AS over_micros
    ), moved AS (
        SELECT tenant_id, family_id, skill, month, day, sum(freed_tokens) AS freed_tokens, sum(freed_micros) AS freed_micros,
               sum(added_tokens) AS added_tokens, sum(added_micros) AS added_micros
        FROM closed GROUP BY tenant_id, family_id, skill, month, day
    ), booked AS (
        UPDATE usage_budgetaccount a
        SET reserved_tokens = a.reserved_tokens - d.freed_tokens, settled_tokens = a.settled_tokens + d.added_tokens,
            reserved_micros = a.reserved_micros - d.freed_micros, settled_micros = a.settled_micros + d.added_micros
        FROM (
            SELECT a.id, sum(m.freed_tokens)::bigint AS freed_tokens, sum(m.added_tokens)::bigint AS added_tokens,
                   sum(m.freed_micros)::bigint AS freed_micros, sum(m.added_micros)::bigint AS added_micros
            FROM moved m JOIN usage_budgetaccount a
                ON a.tenant_id = m.tenant_id AND a.period IN (m.month, m.day) AND coalesce(a.key_id, 0) IN (0, m.family_id)
                AND a.period = CASE a."window" WHEN 'month' THEN m.month ELSE m.day END AND (a.skill = '' OR a.skill = m.skill)
            GROUP BY a.id
        ) d
        WHERE a.id = d.id
    ), stale AS (
        INSERT INTO usage_dayrevision AS r (tenant_id, day, revision, rolled_revision)
        SELECT DISTINCT tenant_id, day, 1, 0 FROM moved ORDER BY tenant_id, day
        ON CONFLICT (tenant_id, day) DO UPDATE SET revision = r.revision + 1
    )
    SELECT array_agg((c.ordinal, 'closed', c.state, c.month, c.number, c.opened_at, c.over_tokens, c.over_micros, NULL)::usage_answer)
    INTO v_answers FROM closed c;

    RETURN QUERY SELECT * FROM unnest(v_answers);
    IF cardinality(v_answers) IS DISTINCT FROM cardinality(p_items) THEN
        RETURN QUERY
        SELECT i.ordinal, CASE WHEN e.id IS NULL THEN 'missing' ELSE 'kept' END, e.state::text, e.month, e.number, e.opened_at,
               0::bigint, 0::bigint, NULL::jsonb
        FROM unnest(p_items) i
        LEFT JOIN usage_event e ON e.id = i.id AND e.month = i.month AND e.tenant_id IS NOT DISTINCT FROM i.tenant_id
        WHERE NOT EXISTS (SELECT 1 FROM unnest(v_answers) a WHERE a.ordinal = i.ordinal);
    END IF;
END $$;

-- Settles, then reserves, in one transaction: what a process has waiting goes as one statement.
-- It gives up on a lock before its callers do: then the other tenants of the batch are tried without the locked one.
-- What comes alone, as most do while there is little to do, comes to usage_apply_call or usage_apply_closing instead, and
-- goes by few and small statements (alone.sql), as does in a batch what is alone of its tenant.
CREATE OR REPLACE FUNCTION usage_apply(p_settle jsonb, p_reserve jsonb) RETURNS SETOF usage_answer LANGUAGE plpgsql
SET lock_timeout = '1200ms'
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    v_answer usage_answer;
    v_items usage_closing[];
    v_calls usage_call[];
    v_own usage_call[];
    v_closers bigint[];
    v_tenants bigint[];
    v_tenant bigint;
BEGIN
    IF p_settle <> '[]' THEN
        SELECT array_agg(i), array_agg(DISTINCT i.tenant_id) INTO v_items, v_closers
        FROM jsonb_populate_recordset(NULL::usage_closing, p_settle) i;
    END IF;
    IF p_reserve <> '[]' THEN
        SELECT array_agg(c), array_agg(DISTINCT c.tenant_id ORDER BY c.tenant_id) INTO v_calls, v_tenants
        FROM jsonb_populate_recordset(NULL::usage_call, p_reserve) c;
    END IF;
    PERFORM usage_lock_tenants(v_tenants || v_closers);
    IF v_items IS NOT NULL THEN
        v_answer := CASE WHEN cardinality(v_items) = 1 THEN usage_close_one(v_items[1]) END;
        IF v_answer.outcome IS NOT NULL THEN
            RETURN NEXT v_answer;
        ELSE
            RETURN QUERY SELECT * FROM usage_close(v_items);
        END IF;
    END IF;
    FOREACH v_tenant IN ARRAY coalesce(v_tenants, '{}') LOOP
        IF cardinality(v_tenants) = 1 THEN
            v_own := v_calls;
        ELSE
            v_own := ARRAY(SELECT c FROM unnest(v_calls) c WHERE c.tenant_id = v_tenant);
        END IF;
        v_answer := CASE WHEN cardinality(v_own) = 1 THEN usage_reserve_one(v_own[1]) END;
        IF v_answer.outcome IS NOT NULL THEN
            RETURN NEXT v_answer;
        ELSE
            RETURN QUERY SELECT * FROM usage_reserve(v_tenant, v_own);
        END IF;
    END LOOP;
END $$;

-- Renews the leases of a process's open events and says which must end: key or tenant inactive, or closed by others.
-- SKIP LOCKED: an event that is being settled needs no lease, and waiting for it could deadlock.
CREATE FUNCTION usage_heartbeat(p_events jsonb, p_lease_seconds double precision)
RETURNS TABLE (id uuid, verdict text) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
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
