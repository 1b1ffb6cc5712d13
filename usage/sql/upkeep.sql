-- What keeps the ledger true when a process does not: the sweep, late releases and repair.

-- Closes lapsed events as estimated at their whole reservation; returns how many. Any number of sweepers may run:
-- they take the tenants in the order of all others, and what one has closed the next does not find.
CREATE FUNCTION usage_sweep(p_most integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    v_tenant bigint;
    v_items usage_closing[];
    v_closed integer := 0;
    v_lapsed integer;
BEGIN
    FOR v_tenant IN
        SELECT DISTINCT e.tenant_id FROM usage_event e WHERE e.state = 'open' AND e.lease_until < usage_clock() ORDER BY e.tenant_id
    LOOP
        PERFORM usage_lock_tenants(ARRAY[v_tenant]);
        v_items := ARRAY(
            SELECT (
                row_number() OVER (), e.id, e.month, e.tenant_id, 'estimated', e.reserved_tokens - e.reserved_output_tokens,
                e.reserved_output_tokens, 0, 0, 0, e.reserved_micros, '', 'lease_lapsed', '', '', NULL, NULL, true
            )::usage_closing
            FROM usage_event e WHERE e.state = 'open' AND e.lease_until < usage_clock() AND e.tenant_id = v_tenant
            ORDER BY e.lease_until LIMIT p_most - v_closed
        );
        CONTINUE WHEN v_items = '{}';
        SELECT count(*) INTO v_lapsed FROM usage_close(v_items) a WHERE a.outcome = 'closed';
        v_closed := v_closed + v_lapsed;
        EXIT WHEN v_closed >= p_most;
    END LOOP;
    RETURN v_closed;
END $$;

-- Releases events whose reservation was committed though its caller was told otherwise; returns their ids.
-- Nothing of theirs went upstream, so one that was swept meanwhile is released as well.
CREATE FUNCTION usage_release_unanswered(p_ids uuid[]) RETURNS SETOF uuid LANGUAGE plpgsql AS $$
DECLARE
    v_items usage_closing[];
    -- Only recent months, in whatever time zone: without a month an event can only be found by reading them all.
    v_months date[] := ARRAY(
        SELECT DISTINCT date_trunc('month', usage_clock() AT TIME ZONE 'UTC' + make_interval(days => d))::date
        FROM unnest(ARRAY[-31, -1, 0, 1]) d
    );
BEGIN
    PERFORM usage_lock_tenants(ARRAY(
        SELECT DISTINCT e.tenant_id FROM usage_event e WHERE e.month = ANY (v_months) AND e.id = ANY (p_ids)
    ));
    v_items := ARRAY(
        SELECT (
            row_number() OVER (), e.id, e.month, e.tenant_id, 'released', 0, 0, 0, 0, 0, 0, '', 'abandoned', '', '', NULL, NULL, false
        )::usage_closing
        FROM usage_event e WHERE e.month = ANY (v_months) AND e.id = ANY (p_ids) AND e.state IN ('open', 'estimated')
    );
    RETURN QUERY SELECT i.id FROM usage_close(v_items) a JOIN unnest(v_items) i ON i.ordinal = a.ordinal WHERE a.outcome = 'closed';
END $$;

-- What an account should hold by the events in its scope.
CREATE FUNCTION usage_account_by_events(p_account bigint)
RETURNS TABLE (reserved_tokens bigint, settled_tokens bigint, reserved_micros bigint, settled_micros bigint) LANGUAGE sql STABLE AS $$
    SELECT coalesce(sum(e.reserved_tokens) FILTER (WHERE e.state = 'open'), 0)::bigint, coalesce(sum(e.charged_tokens), 0)::bigint,
           coalesce(sum(e.reserved_micros) FILTER (WHERE e.state = 'open'), 0)::bigint, coalesce(sum(e.cost_micros), 0)::bigint
    FROM usage_budgetaccount a JOIN usage_event e
        ON e.tenant_id = a.tenant_id AND e.month = date_trunc('month', a.period)::date AND (a."window" = 'month' OR e.day = a.period)
        AND (a.key_id IS NULL OR e.family_id = a.key_id) AND (a.skill = '' OR e.skill = a.skill)
    WHERE a.id = p_account
$$;

-- Sets an account's counters to what its events say, under its tenant's lock.
CREATE FUNCTION usage_repair_account(p_account bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM usage_lock_tenants(ARRAY(SELECT tenant_id FROM usage_budgetaccount WHERE id = p_account));
    UPDATE usage_budgetaccount a
    SET reserved_tokens = s.reserved_tokens, settled_tokens = s.settled_tokens,
        reserved_micros = s.reserved_micros, settled_micros = s.settled_micros
    FROM usage_account_by_events(p_account) s WHERE a.id = p_account;
END $$;
