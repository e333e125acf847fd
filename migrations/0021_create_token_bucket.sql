-- Creates the functions that take tokens and say how many are left.
-- depends: 0020_create_document_search
-- why: one call decides over all the rules that concern a request, all or none, exactly, and as a
--   subject that the app login cannot choose: the user is the context's.
-- phase: before deploy
-- locks: none
-- rollback: drops the functions and their type
--
-- Of each scope one rule counts, the one of the endpoint before the one of *, and the one of the
-- tier before the one of *. So a call touches at most one bucket of each scope, and locks them from
-- the narrowest to the widest: no two calls can wait for each other, and everybody's bucket is
-- locked last.

SET LOCAL ROLE clonedb_owner;

COMMENT ON COLUMN clonedb.rate_limit_buckets.subject IS
'The address in scope address, of IPv6 the network of 64 bits; empty in the others.';
COMMENT ON COLUMN clonedb.rate_limit_buckets.endpoint IS
'The endpoint of the rule, so that * is one bucket for all that has no rule of its own; in scope
endpoint the one that was called.';

CREATE TYPE clonedb.rate_limit_state AS (
    user_id uuid,
    scope text,
    subject text,
    endpoint text,
    rule_tier text,
    rule_endpoint text,
    capacity double precision,
    refill_per_second double precision,
    tokens double precision,
    refilled_at timestamptz
);

COMMENT ON TYPE clonedb.rate_limit_state IS
'A bucket''s key, the rule that it follows, and what it held when.';

CREATE FUNCTION clonedb.tokens_at(
    p_tokens double precision,
    p_refilled_at timestamptz,
    p_capacity double precision,
    p_refill_per_second double precision,
    p_now timestamptz
) RETURNS double precision
LANGUAGE sql
IMMUTABLE
PARALLEL SAFE
RETURN least(
    p_capacity,
    p_tokens
    + greatest(0, extract(EPOCH FROM p_now - p_refilled_at)::double precision)
    * p_refill_per_second
);

COMMENT ON FUNCTION clonedb.tokens_at(
    double precision, timestamptz, double precision, double precision, timestamptz
) IS
'What a bucket holds at a time. A clock that went back gives nothing until it has caught up.';

CREATE FUNCTION clonedb.rate_limit_subject(p_address inet) RETURNS text
LANGUAGE sql
IMMUTABLE
PARALLEL SAFE
RETURN CASE
    WHEN family(p_address) = 4 THEN host(p_address)
    WHEN p_address <<= '::ffff:0:0/96'::inet THEN replace(host(p_address), '::ffff:', '')
    ELSE network(set_masklen(p_address, 64))::text
END;

COMMENT ON FUNCTION clonedb.rate_limit_subject(inet) IS
'Whom an address stands for: itself in IPv4, also where it is mapped into IPv6; in IPv6 its network
of 64 bits, since a single host has all of those addresses to choose from.';

CREATE FUNCTION clonedb.rate_limit_states(p_user_id uuid, p_endpoint text, p_address inet)
RETURNS SETOF clonedb.rate_limit_state
LANGUAGE plpgsql
STABLE
ROWS 3
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_nobody constant uuid := '00000000-0000-0000-0000-000000000000';
    v_tier text;
BEGIN
    IF p_endpoint IS NULL OR p_endpoint = '*' OR char_length(p_endpoint) NOT BETWEEN 1 AND 200 THEN
        RAISE EXCEPTION 'an endpoint has 1 to 200 characters and is not *'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF p_user_id IS NULL AND p_address IS NULL THEN
        RAISE EXCEPTION 'without a user an address is needed'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;

    v_tier := (
        SELECT u.subscription_tier
        FROM clonedb.users AS u
        WHERE u.id = p_user_id
    );
    RETURN QUERY
    WITH rule AS (
        SELECT DISTINCT ON (r.scope)
            r.scope,
            r.tier,
            r.endpoint,
            r.capacity,
            r.refill_per_second
        FROM clonedb.rate_limit_rules AS r
        WHERE r.endpoint IN (p_endpoint, '*')
            AND CASE r.scope
                WHEN 'user' THEN p_user_id IS NOT NULL AND r.tier IN (v_tier, '*')
                WHEN 'address' THEN p_user_id IS NULL
                ELSE true
            END
        ORDER BY
            r.scope,
            r.endpoint = '*',
            r.tier = '*'
    ),
    key AS (
        SELECT
            CASE rule.scope WHEN 'user' THEN p_user_id ELSE v_nobody END AS user_id,
            rule.scope,
            CASE rule.scope
                WHEN 'address' THEN clonedb.rate_limit_subject(p_address)
                ELSE ''
            END AS subject,
            CASE rule.scope WHEN 'endpoint' THEN p_endpoint ELSE rule.endpoint END AS endpoint,
            rule.tier AS rule_tier,
            rule.endpoint AS rule_endpoint,
            rule.capacity,
            rule.refill_per_second
        FROM rule
    )
    SELECT
        key.user_id,
        key.scope,
        key.subject,
        key.endpoint,
        key.rule_tier,
        key.rule_endpoint,
        key.capacity,
        key.refill_per_second,
        coalesce(b.tokens, key.capacity),
        coalesce(b.refilled_at, statement_timestamp())
    FROM key
    LEFT JOIN clonedb.rate_limit_buckets AS b
        ON b.user_id = key.user_id
            AND b.scope = key.scope
            AND b.subject = key.subject
            AND b.endpoint = key.endpoint
    ORDER BY
        CASE key.scope
            WHEN 'endpoint' THEN 2
            WHEN 'everybody' THEN 3
            ELSE 1
        END;
END
$$;

COMMENT ON FUNCTION clonedb.rate_limit_states(uuid, text, inet) IS
'The buckets that a request concerns, in the order in which they are locked; one that is not stored
yet is full. For the functions below: nobody else may name a user here.';

CREATE FUNCTION clonedb.take_tokens(p_endpoint text, p_cost double precision, p_address inet)
RETURNS TABLE (
    outcome text,
    rule_scope text,
    rule_tier text,
    rule_endpoint text,
    capacity double precision,
    remaining double precision,
    retry_after double precision,
    reset_at timestamptz
)
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
ROWS 1
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_user_id constant uuid := clonedb.living_user_id();
    v_states clonedb.rate_limit_state[];
    v_tokens double precision;
    v_refilled_at timestamptz;
    v_now timestamptz;
    v_taken bigint;
BEGIN
    IF (p_cost > 0 AND p_cost <= 1000000000) IS NOT TRUE THEN
        RAISE EXCEPTION 'a cost is above 0 and at most 1,000,000,000, not %', p_cost
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF v_user_id IS NULL AND clonedb.current_user_id() IS NOT NULL THEN
        outcome := 'no_user';
        RETURN NEXT;
        RETURN;
    END IF;

    v_states := ARRAY(
        SELECT s
        FROM clonedb.rate_limit_states(v_user_id, p_endpoint, p_address) AS s
    );
    -- First a look without a lock, so that a denial disturbs nobody; then the locks and the look
    -- that counts.
    FOR v_look IN 1..2 LOOP
        IF v_look = 2 THEN
            FOR v_number IN 1..cardinality(v_states) LOOP
                LOOP
                    SELECT
                        b.tokens,
                        b.refilled_at
                    INTO v_tokens, v_refilled_at
                    FROM clonedb.rate_limit_buckets AS b
                    WHERE b.user_id = v_states[v_number].user_id
                        AND b.scope = v_states[v_number].scope
                        AND b.subject = v_states[v_number].subject
                        AND b.endpoint = v_states[v_number].endpoint
                    FOR NO KEY UPDATE;
                    EXIT WHEN FOUND;
                    -- Another first call may be in front, or a purge: then there is a row to lock,
                    -- or none to insert beside.
                    v_tokens := v_states[v_number].capacity;
                    v_refilled_at := clock_timestamp();
                    INSERT INTO clonedb.rate_limit_buckets (
                        user_id,
                        scope,
                        subject,
                        endpoint,
                        tokens,
                        refilled_at
                    )
                    VALUES (
                        v_states[v_number].user_id,
                        v_states[v_number].scope,
                        v_states[v_number].subject,
                        v_states[v_number].endpoint,
                        v_tokens,
                        v_refilled_at
                    )
                    ON CONFLICT DO NOTHING;
                    EXIT WHEN FOUND;
                END LOOP;
                v_states[v_number].tokens := v_tokens;
                v_states[v_number].refilled_at := v_refilled_at;
            END LOOP;
        END IF;

        v_now := clock_timestamp();
        SELECT
            CASE
                WHEN s.capacity < p_cost THEN 'too_costly'
                WHEN here.tokens < p_cost THEN 'denied'
                ELSE 'admitted'
            END,
            s.scope,
            s.rule_tier,
            s.rule_endpoint,
            s.capacity,
            left_over.tokens,
            wait.seconds,
            CASE
                WHEN left_over.tokens >= s.capacity THEN v_now
                WHEN s.refill_per_second > 0
                    -- A century off is never, and further than an interval goes.
                    AND (s.capacity - left_over.tokens) / s.refill_per_second < 3e9
                    THEN greatest(v_now, s.refilled_at)
                    + (s.capacity - left_over.tokens) / s.refill_per_second * interval '1 second'
            END
        INTO
            outcome,
            rule_scope,
            rule_tier,
            rule_endpoint,
            capacity,
            remaining,
            retry_after,
            reset_at
        FROM unnest(v_states) AS s
        CROSS JOIN LATERAL (
            SELECT clonedb.tokens_at(
                s.tokens, s.refilled_at, s.capacity, s.refill_per_second, v_now
            ) AS tokens
        ) AS here
        CROSS JOIN LATERAL (
            SELECT CASE
                WHEN here.tokens < p_cost THEN here.tokens
                ELSE here.tokens - p_cost
            END AS tokens
        ) AS left_over
        CROSS JOIN LATERAL (
            SELECT CASE
                WHEN here.tokens >= p_cost THEN 0
                -- Rounded up: who waits so long is not sent away for a fraction.
                WHEN s.refill_per_second > 0 THEN ceil(1000 * (
                    greatest(0, extract(EPOCH FROM s.refilled_at - v_now)::double precision)
                    + (p_cost - here.tokens) / s.refill_per_second
                )) / 1000
            END AS seconds
        ) AS wait
        ORDER BY
            s.capacity < p_cost DESC,
            wait.seconds DESC NULLS FIRST,
            left_over.tokens ASC
        LIMIT 1;
        EXIT WHEN outcome IS DISTINCT FROM 'admitted';
    END LOOP;

    IF outcome IS NULL THEN
        outcome := 'unlimited';
        retry_after := 0;
    ELSIF outcome = 'admitted' THEN
        UPDATE clonedb.rate_limit_buckets AS b
        SET
            tokens = clonedb.tokens_at(
                b.tokens, b.refilled_at, s.capacity, s.refill_per_second, v_now
            ) - p_cost,
            refilled_at = greatest(b.refilled_at, v_now)
        FROM unnest(v_states) AS s
        WHERE b.user_id = s.user_id
            AND b.scope = s.scope
            AND b.subject = s.subject
            AND b.endpoint = s.endpoint
            AND clonedb.tokens_at(
                b.tokens, b.refilled_at, s.capacity, s.refill_per_second, v_now
            ) >= p_cost;
        GET DIAGNOSTICS v_taken = ROW_COUNT;
        IF v_taken <> cardinality(v_states) THEN
            RAISE EXCEPTION 'took of % buckets instead of %', v_taken, cardinality(v_states)
                USING ERRCODE = 'serialization_failure';
        END IF;
    END IF;

    -- Last, and the user's own row: nobody else waits for it.
    IF v_user_id IS NOT NULL AND outcome <> 'too_costly' THEN
        INSERT INTO clonedb.rate_limits AS c (
            user_id,
            endpoint,
            window_start,
            request_count,
            denied_count
        )
        VALUES (
            v_user_id,
            p_endpoint,
            date_trunc('minute', clock_timestamp(), 'UTC'),
            (outcome <> 'denied')::integer,
            (outcome = 'denied')::integer
        )
        ON CONFLICT ON CONSTRAINT rate_limits_pkey DO UPDATE
        SET
            request_count = c.request_count + excluded.request_count,
            denied_count = c.denied_count + excluded.denied_count,
            updated_at = clock_timestamp();
    END IF;
    RETURN NEXT;
END
$$;

COMMENT ON FUNCTION clonedb.take_tokens(text, double precision, inet) IS
'Takes tokens from every bucket that a request of the context''s user, or without a context of the
address, concerns: from all or from none. The row says why: admitted (with the rule that has least
left), denied (with the rule to wait longest for; no bucket is changed or locked), too_costly (a
capacity is smaller), unlimited (no rule), no_user. retry_after is in seconds, NULL for never;
reset_at is when the bucket is full. Counts a user''s request by minute. Call it in a transaction of
its own: buckets stay locked until the end of it.';

CREATE FUNCTION clonedb.find_tokens(p_endpoint text, p_address inet)
RETURNS TABLE (
    rule_scope text,
    rule_tier text,
    rule_endpoint text,
    capacity double precision,
    refill_per_second double precision,
    remaining double precision,
    reset_at timestamptz
)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
ROWS 3
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_user_id constant uuid := clonedb.living_user_id();
    v_now constant timestamptz := clock_timestamp();
BEGIN
    IF v_user_id IS NULL AND clonedb.current_user_id() IS NOT NULL THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT
        s.scope,
        s.rule_tier,
        s.rule_endpoint,
        s.capacity,
        s.refill_per_second,
        here.tokens,
        CASE
            WHEN here.tokens >= s.capacity THEN v_now
            WHEN s.refill_per_second > 0
                AND (s.capacity - here.tokens) / s.refill_per_second < 3e9
                THEN greatest(v_now, s.refilled_at)
                + (s.capacity - here.tokens) / s.refill_per_second * interval '1 second'
        END
    FROM clonedb.rate_limit_states(v_user_id, p_endpoint, p_address) AS s
    CROSS JOIN LATERAL (
        SELECT clonedb.tokens_at(
            s.tokens, s.refilled_at, s.capacity, s.refill_per_second, v_now
        ) AS tokens
    ) AS here;
END
$$;

COMMENT ON FUNCTION clonedb.find_tokens(text, inet) IS
'What take_tokens would find: a row for each rule, from the narrowest scope to the widest. Takes
nothing and locks nothing.';

GRANT EXECUTE ON FUNCTION
clonedb.take_tokens(text, double precision, inet),
clonedb.find_tokens(text, inet)
TO clonedb_app, clonedb_worker;
-- The worker's own statements reset and purge buckets.
GRANT EXECUTE ON FUNCTION
clonedb.rate_limit_subject(inet),
clonedb.tokens_at(double precision, timestamptz, double precision, double precision, timestamptz)
TO clonedb_worker, clonedb_dba;
