-- The common cases of the ledger's verbs, of what comes alone: the same in their outcome as the general ones of
-- ledger.sql, by statements without joins to what was sent. What is not such a case they leave to those.

-- The common case of usage_reserve, of one call: it fits without any increase, and all its accounts are open. Else it
-- gives its number back and returns NULL: the general case answers. Taking a number takes the tenant's lock.
-- The caller has pinned the planner's choices.
CREATE OR REPLACE FUNCTION usage_reserve_one(p_call usage_call) RETURNS usage_answer LANGUAGE plpgsql AS $$
DECLARE
    v_now timestamptz;
    v_local timestamp;
    v_month date;
    v_fits boolean;
    v_number bigint;
BEGIN
    UPDATE usage_tenanttally SET last_number = last_number + 1 WHERE tenant_id = p_call.tenant_id RETURNING last_number INTO v_number;
    v_now := usage_clock(); -- with the lock: who waited for it is not of the day in which the wait began
    SELECT v_now AT TIME ZONE t.timezone INTO v_local FROM tenants_tenant t JOIN tenants_apikey k ON k.tenant_id = t.id
    WHERE t.id = p_call.tenant_id AND t.status = 'active'
      AND k.id = p_call.key_id AND coalesce(k.family_id, k.id) = p_call.family_id
      AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > v_now)
    FOR SHARE OF t FOR SHARE OF k;
    v_month := date_trunc('month', v_local)::date;

    -- From the budgets, since each must have its account; of an owner's, the monthly one of all skills must be there.
    SELECT bool_and(
               a.id IS NOT NULL AND (
                   b.skill NOT IN ('', p_call.skill)
                   OR usage_fits(p_call.tokens, b.limit_tokens, a.settled_tokens, a.reserved_tokens)
                   AND usage_fits(p_call.micros, b.limit_micros, a.settled_micros, a.reserved_micros)
               )
           ) AND count(*) FILTER (WHERE b."window" = 'month' AND b.skill = '' AND b.limit_tokens IS NOT NULL) = 2
    INTO v_fits
    FROM tenants_budget b
    LEFT JOIN usage_budgetaccount a ON a.tenant_id = p_call.tenant_id AND coalesce(a.key_id, 0) = coalesce(b.key_id, 0)
        AND a."window" = b."window" AND a.skill = b.skill
        AND a.period = CASE b."window" WHEN 'month' THEN v_month ELSE v_local::date END
    WHERE b.tenant_id = p_call.tenant_id AND coalesce(b.key_id, 0) IN (0, p_call.family_id);
    IF v_local IS NULL OR v_fits IS NOT TRUE THEN
        UPDATE usage_tenanttally SET last_number = last_number - 1 WHERE tenant_id = p_call.tenant_id;
        RETURN NULL;
    END IF;

    UPDATE usage_budgetaccount a
    SET reserved_tokens = a.reserved_tokens + p_call.tokens, reserved_micros = a.reserved_micros + p_call.micros
    WHERE a.tenant_id = p_call.tenant_id AND a.period IN (v_month, v_local::date)
      AND coalesce(a.key_id, 0) IN (0, p_call.family_id) AND a.skill IN ('', p_call.skill)
      AND a.period = CASE a."window" WHEN 'month' THEN v_month ELSE v_local::date END;
    INSERT INTO usage_event (
        id, month, day, number, tenant_id, key_id, family_id, run_id, attempt, purpose, request_id, entry_point,
        skill, skill_version, model, route, state, reserved_tokens, reserved_output_tokens, reserved_micros, price_version,
        opened_at, lease_until
    ) VALUES (
        p_call.id, v_month, v_local::date, v_number, p_call.tenant_id, p_call.key_id, p_call.family_id,
        p_call.run_id, p_call.attempt, p_call.purpose, p_call.request_id, p_call.entry_point, p_call.skill, p_call.skill_version,
        p_call.model, p_call.route, 'open', p_call.tokens, p_call.output_tokens, p_call.micros, p_call.price_version,
        v_now, v_now + make_interval(secs => p_call.lease_seconds)
    );
    RETURN (p_call.ordinal, 'open', 'open', v_month, v_number, v_now, 0, 0, NULL)::usage_answer;
END $$;

-- The common case of usage_close, of one event: it is open. Else it writes nothing and returns NULL.
-- IS NOT DISTINCT FROM, of its state as of its tenant: an equality could be looked up by the index of the open events.
CREATE OR REPLACE FUNCTION usage_close_one(p_item usage_closing) RETURNS usage_answer LANGUAGE plpgsql AS $$
DECLARE
    v_now timestamptz := usage_clock();
    v_event record;
BEGIN
    UPDATE usage_event e
    SET state = p_item.state, input_tokens = p_item.input_tokens, output_tokens = p_item.output_tokens,
        cache_write_5m_tokens = p_item.cache_write_5m_tokens, cache_write_1h_tokens = p_item.cache_write_1h_tokens,
        cache_read_tokens = p_item.cache_read_tokens,
        charged_tokens = p_item.input_tokens + p_item.output_tokens + p_item.cache_write_5m_tokens + p_item.cache_write_1h_tokens
            + p_item.cache_read_tokens,
        cost_micros = p_item.cost_micros, stop_reason = p_item.stop_reason, error_type = p_item.error_type,
        upstream_request_id = p_item.upstream_request_id, service_tier = p_item.service_tier,
        first_output_ms = p_item.first_output_ms, duration_ms = p_item.duration_ms, closed_at = v_now
    WHERE e.id = p_item.id AND e.month = p_item.month AND e.tenant_id IS NOT DISTINCT FROM p_item.tenant_id
      AND e.state IS NOT DISTINCT FROM 'open' AND (NOT p_item.lapsed_only OR e.lease_until < v_now)
    RETURNING e.family_id, e.skill, e.day, e.number, e.opened_at, e.charged_tokens, e.cost_micros, e.reserved_tokens, e.reserved_micros
    INTO v_event;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;

    UPDATE usage_budgetaccount a
    SET reserved_tokens = a.reserved_tokens - v_event.reserved_tokens, settled_tokens = a.settled_tokens + v_event.charged_tokens,
        reserved_micros = a.reserved_micros - v_event.reserved_micros, settled_micros = a.settled_micros + v_event.cost_micros
    WHERE a.tenant_id = p_item.tenant_id AND a.period IN (p_item.month, v_event.day)
      AND coalesce(a.key_id, 0) IN (0, v_event.family_id) AND a.skill IN ('', v_event.skill)
      AND a.period = CASE a."window" WHEN 'month' THEN p_item.month ELSE v_event.day END;
    UPDATE usage_dayrevision SET revision = revision + 1 WHERE tenant_id = p_item.tenant_id AND day = v_event.day;
    IF NOT FOUND THEN
        INSERT INTO usage_dayrevision AS r (tenant_id, day, revision, rolled_revision) VALUES (p_item.tenant_id, v_event.day, 1, 0)
        ON CONFLICT (tenant_id, day) DO UPDATE SET revision = r.revision + 1;
    END IF;
    RETURN (
        p_item.ordinal, 'closed', p_item.state, p_item.month, v_event.number, v_event.opened_at,
        greatest(v_event.charged_tokens - v_event.reserved_tokens, 0), greatest(v_event.cost_micros - v_event.reserved_micros, 0), NULL
    )::usage_answer;
END $$;

-- Reserves for one call, as a process sends what it has alone: its fields as they are, instead of a list as JSON.
CREATE OR REPLACE FUNCTION usage_apply_call(p_call usage_call) RETURNS SETOF usage_answer LANGUAGE plpgsql
SET lock_timeout = '1200ms'
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    v_answer usage_answer := usage_reserve_one(p_call);
BEGIN
    IF v_answer.outcome IS NOT NULL THEN
        RETURN NEXT v_answer;
    ELSE
        RETURN QUERY SELECT * FROM usage_reserve(p_call.tenant_id, ARRAY[p_call]);
    END IF;
END $$;

-- Closes one event, as a process sends what it has alone.
CREATE OR REPLACE FUNCTION usage_apply_closing(p_item usage_closing) RETURNS SETOF usage_answer LANGUAGE plpgsql
SET lock_timeout = '1200ms'
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    v_answer usage_answer;
BEGIN
    PERFORM 1 FROM usage_tenanttally WHERE tenant_id = p_item.tenant_id FOR UPDATE;
    v_answer := usage_close_one(p_item);
    IF v_answer.outcome IS NOT NULL THEN
        RETURN NEXT v_answer;
    ELSE
        RETURN QUERY SELECT * FROM usage_close(ARRAY[p_item]);
    END IF;
END $$;
