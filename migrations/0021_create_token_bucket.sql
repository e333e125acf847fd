-- Creates the functions that take tokens, say how many are left, and give them back.
-- depends: 0020_create_document_search
-- why: one call decides over all the rules that concern a request, all or none, exactly, and as a
--   subject that the app login cannot choose: the user is the context's.
-- phase: before deploy
-- locks: SHARE UPDATE EXCLUSIVE on rate_limit_buckets
-- rollback: drops the functions
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

CREATE FUNCTION clonedb.take_tokens(
    p_endpoint text,
    p_costs double precision [],
    p_counts integer [],
    p_receipts uuid [],
    p_address inet,
    OUT granted integer [],
    OUT scopes text [],
    OUT endpoints text [],
    OUT tiers text [],
    OUT capacities double precision [],
    OUT refills double precision [],
    OUT tokens double precision [],
    OUT aheads double precision [],
    OUT looked_at timestamptz
)
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
DECLARE
    v_nobody constant uuid := '00000000-0000-0000-0000-000000000000';
    v_user_id constant uuid := clonedb.current_user_id();
    v_order text[] := ARRAY['user', 'endpoint', 'everybody'];
    v_subject text := '';
    v_tier text;
    v_state record;
    v_buckets integer := 0;
    -- Of each bucket: the rest of its key, and what it held when.
    v_owners uuid[];
    v_subjects text[];
    v_names text[];
    v_stored double precision[];
    v_refilled timestamptz[];
    v_left double precision[];
    v_least double precision := 'Infinity';
    v_count double precision;
    v_taken bigint;
    v_denied bigint;
    v_tokens double precision;
    v_refilled_at timestamptz;
BEGIN
    IF p_endpoint IS NULL OR p_endpoint = '*' OR char_length(p_endpoint) NOT BETWEEN 1 AND 200 THEN
        RAISE EXCEPTION 'an endpoint has 1 to 200 characters and is not *'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF cardinality(p_costs) IS DISTINCT FROM cardinality(p_counts)
        OR cardinality(p_receipts) <> cardinality(p_costs)
    THEN
        RAISE EXCEPTION 'each cost has a count, and each receipt a cost'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF v_user_id IS NOT NULL THEN
        SELECT u.subscription_tier
        INTO v_tier
        FROM clonedb.users AS u
        WHERE u.id = v_user_id
            AND u.deleted_at IS NULL;
        IF NOT FOUND THEN
            RETURN;
        END IF;
    ELSIF p_address IS NULL THEN
        RAISE EXCEPTION 'without a user an address is needed'
            USING ERRCODE = 'invalid_parameter_value';
    ELSE
        v_order[1] := 'address';
        v_subject := clonedb.rate_limit_subject(p_address);
    END IF;

    FOR v_state IN
        SELECT
            r.scope,
            r.endpoint,
            r.tier,
            r.capacity,
            r.refill_per_second,
            k.user_id,
            k.subject,
            k.endpoint AS bucket,
            b.tokens,
            b.refilled_at
        FROM clonedb.rate_limit_rules AS r
        CROSS JOIN LATERAL (
            SELECT
                CASE r.scope WHEN 'user' THEN v_user_id ELSE v_nobody END AS user_id,
                CASE r.scope WHEN 'address' THEN v_subject ELSE '' END AS subject,
                CASE r.scope WHEN 'endpoint' THEN p_endpoint ELSE r.endpoint END AS endpoint
        ) AS k
        LEFT JOIN clonedb.rate_limit_buckets AS b
            ON b.user_id = k.user_id
                AND b.scope = r.scope
                AND b.subject = k.subject
                AND b.endpoint = k.endpoint
        WHERE r.scope = ANY(v_order)
            AND r.endpoint = ANY(ARRAY[p_endpoint, '*'])
            AND r.tier = ANY(ARRAY[v_tier, '*'])
        ORDER BY
            array_position(v_order, r.scope),
            r.endpoint = '*',
            r.tier = '*'
    LOOP
        CONTINUE WHEN v_state.scope = scopes[v_buckets];
        v_buckets := v_buckets + 1;
        scopes[v_buckets] := v_state.scope;
        endpoints[v_buckets] := v_state.endpoint;
        tiers[v_buckets] := v_state.tier;
        capacities[v_buckets] := v_state.capacity;
        refills[v_buckets] := v_state.refill_per_second;
        v_owners[v_buckets] := v_state.user_id;
        v_subjects[v_buckets] := v_state.subject;
        v_names[v_buckets] := v_state.bucket;
        v_stored[v_buckets] := v_state.tokens;
        v_refilled[v_buckets] := v_state.refilled_at;
        v_least := least(v_least, v_state.capacity);
    END LOOP;

    -- First a look without a lock, so that a denial disturbs nobody; then the locks and the look
    -- that counts.
    FOR v_look IN 1..2 LOOP
        IF v_look = 2 THEN
            FOR b IN 1..v_buckets LOOP
                LOOP
                    SELECT
                        k.tokens,
                        k.refilled_at
                    INTO v_tokens, v_refilled_at
                    FROM clonedb.rate_limit_buckets AS k
                    WHERE k.user_id = v_owners[b]
                        AND k.scope = scopes[b]
                        AND k.subject = v_subjects[b]
                        AND k.endpoint = v_names[b]
                    FOR NO KEY UPDATE;
                    EXIT WHEN FOUND;
                    -- Another first call may be in front, or a purge: then there is a row to lock,
                    -- or none to insert beside.
                    v_tokens := capacities[b];
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
                        v_owners[b],
                        scopes[b],
                        v_subjects[b],
                        v_names[b],
                        v_tokens,
                        v_refilled_at
                    )
                    ON CONFLICT DO NOTHING;
                    EXIT WHEN FOUND;
                END LOOP;
                v_stored[b] := v_tokens;
                v_refilled[b] := v_refilled_at;
            END LOOP;
        END IF;

        looked_at := clock_timestamp();
        FOR b IN 1..v_buckets LOOP
            -- One that is not stored yet is full.
            tokens[b] := coalesce(
                clonedb.tokens_at(v_stored[b], v_refilled[b], capacities[b], refills[b], looked_at),
                capacities[b]
            );
            aheads[b] := greatest(
                0, extract(EPOCH FROM v_refilled[b] - looked_at)::double precision
            );
        END LOOP;
        -- The requests one after another, as if each had been a call of its own.
        v_left := tokens;
        v_taken := 0;
        v_denied := 0;
        FOR i IN 1..cardinality(p_costs) LOOP
            IF (
                p_costs[i] > 0 AND p_costs[i] <= 1000000000 AND p_counts[i] BETWEEN 1 AND 1000000
            ) IS NOT TRUE THEN
                RAISE EXCEPTION 'a cost is above 0 and at most 1,000,000,000, and there are 1 to '
                    '1,000,000 of it, not % of %', p_counts[i], p_costs[i]
                    USING ERRCODE = 'invalid_parameter_value';
            END IF;
            v_count := p_counts[i];
            FOR b IN 1..v_buckets LOOP
                IF v_left[b] < v_count * p_costs[i] THEN
                    v_count := floor(v_left[b] / p_costs[i]);
                END IF;
            END LOOP;
            granted[i] := v_count;
            IF v_count > 0 THEN
                v_taken := v_taken + v_count;
                FOR b IN 1..v_buckets LOOP
                    v_left[b] := greatest(0, v_left[b] - v_count * p_costs[i]);
                END LOOP;
            END IF;
            -- What no full bucket could pay is the caller's mistake and no denial.
            IF p_costs[i] <= v_least THEN
                v_denied := v_denied + p_counts[i] - v_count;
            END IF;
        END LOOP;
        EXIT WHEN v_taken = 0 OR v_buckets = 0;
    END LOOP;

    IF v_taken > 0 THEN
        FOR b IN 1..v_buckets LOOP
            UPDATE clonedb.rate_limit_buckets AS k
            SET
                tokens = v_left[b],
                refilled_at = greatest(k.refilled_at, looked_at)
            WHERE k.user_id = v_owners[b]
                AND k.scope = scopes[b]
                AND k.subject = v_subjects[b]
                AND k.endpoint = v_names[b];
            IF NOT FOUND THEN
                RAISE EXCEPTION 'a locked bucket is gone'
                    USING ERRCODE = 'serialization_failure';
            END IF;
        END LOOP;
        IF v_buckets > 0 AND p_receipts IS NOT NULL THEN
            INSERT INTO clonedb.rate_limit_receipts (
                user_id,
                id,
                subject,
                cost,
                scopes,
                buckets,
                taken_at
            )
            SELECT
                coalesce(v_user_id, v_nobody),
                p_receipts[n],
                v_subject,
                p_costs[n],
                scopes,
                v_names,
                looked_at
            FROM generate_subscripts(p_receipts, 1) AS n
            WHERE p_receipts[n] IS NOT NULL
                AND granted[n] > 0;
        END IF;
    END IF;
    -- Last, and the user's own row: nobody else waits for it.
    IF v_user_id IS NOT NULL AND (v_taken > 0 OR v_denied > 0) THEN
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
            date_trunc('minute', looked_at, 'UTC'),
            v_taken,
            v_denied
        )
        ON CONFLICT ON CONSTRAINT rate_limits_pkey DO UPDATE
        SET
            request_count = c.request_count + excluded.request_count,
            denied_count = c.denied_count + excluded.denied_count,
            updated_at = excluded.updated_at;
    END IF;
END
$$;

COMMENT ON FUNCTION clonedb.take_tokens(
    text, double precision [], integer [], uuid [], inet
) IS
'Takes tokens for requests of the context''s user, or without a context of an address: one after
another, each from every bucket that it concerns or from none, so that the answers are those of as
many calls. p_counts[i] requests of p_costs[i] each; granted says how many of them were admitted, the
first ones. The other arrays have an element for each rule, in the order in which buckets are locked:
the rule, what its bucket held at looked_at, before anything was taken, and by how many seconds its
clock is ahead of that (0, unless the clock went back); they are NULL where no rule concerns the
requests, and looked_at is NULL for a user who does not exist. A denial changes no bucket and locks
none. Counts a user''s requests by minute, but for those whose cost is above a capacity. A request
with a receipt may be given back (refund_tokens). With no costs it takes nothing and says how things
are. Call it in a transaction of its own: buckets stay locked until the end of it.';

CREATE FUNCTION clonedb.count_denials(p_endpoint text, p_count integer) RETURNS boolean
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_user_id constant uuid := clonedb.living_user_id();
BEGIN
    IF (p_count > 0 AND p_endpoint <> '*') IS NOT TRUE THEN
        RAISE EXCEPTION 'denials of an endpoint are 1 or more, not % of %', p_count, p_endpoint
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF v_user_id IS NULL THEN
        RETURN false;
    END IF;
    INSERT INTO clonedb.rate_limits AS c (user_id, endpoint, window_start, denied_count)
    VALUES (v_user_id, p_endpoint, date_trunc('minute', clock_timestamp(), 'UTC'), p_count)
    ON CONFLICT ON CONSTRAINT rate_limits_pkey DO UPDATE
    SET
        denied_count = c.denied_count + excluded.denied_count,
        updated_at = excluded.updated_at;
    RETURN true;
END
$$;

COMMENT ON FUNCTION clonedb.count_denials(text, integer) IS
'Adds to the denied requests of the context''s user in this minute: those that a process has denied
by what it remembered. False for a user who does not exist. It gives and takes no token.';

CREATE FUNCTION clonedb.refund_tokens(p_receipt uuid) RETURNS boolean
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_nobody constant uuid := '00000000-0000-0000-0000-000000000000';
    v_user_id constant uuid := clonedb.current_user_id();
    v_receipt record;
BEGIN
    DELETE FROM clonedb.rate_limit_receipts AS t
    WHERE t.user_id = coalesce(v_user_id, v_nobody)
        AND t.id = p_receipt
        AND t.taken_at > clock_timestamp() - interval '1 hour'
    RETURNING
        t.subject,
        t.cost,
        t.scopes,
        t.buckets
    INTO v_receipt;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    FOR b IN 1..cardinality(v_receipt.scopes) LOOP
        -- By the rule that its bucket follows now. A bucket that is gone is full.
        UPDATE clonedb.rate_limit_buckets AS k
        SET
            tokens = least(
                r.capacity,
                clonedb.tokens_at(
                    k.tokens, k.refilled_at, r.capacity, r.refill_per_second, clock_timestamp()
                ) + v_receipt.cost
            ),
            refilled_at = greatest(k.refilled_at, clock_timestamp())
        FROM (
            SELECT
                s.capacity,
                s.refill_per_second
            FROM clonedb.rate_limit_rules AS s
            WHERE s.scope = v_receipt.scopes[b]
                AND (
                    s.endpoint = v_receipt.buckets[b]
                    OR (s.scope = 'endpoint' AND s.endpoint = '*')
                )
                AND s.tier IN (
                    '*',
                    (
                        SELECT u.subscription_tier
                        FROM clonedb.users AS u
                        WHERE u.id = v_user_id
                    )
                )
            ORDER BY
                s.endpoint = '*',
                s.tier = '*'
            LIMIT 1
        ) AS r
        WHERE k.user_id = CASE v_receipt.scopes[b] WHEN 'user' THEN v_user_id ELSE v_nobody END
            AND k.scope = v_receipt.scopes[b]
            AND k.subject = CASE v_receipt.scopes[b] WHEN 'address' THEN v_receipt.subject ELSE '' END
            AND k.endpoint = v_receipt.buckets[b];
    END LOOP;
    RETURN true;
END
$$;

COMMENT ON FUNCTION clonedb.refund_tokens(uuid) IS
'Gives back what a request of the context''s user, or without a context of an address, has taken, to
the buckets that it was taken from and never above their capacity; true if it did. A receipt is
worth its cost once, and within an hour.';

CREATE FUNCTION clonedb.log_rate_limits(p_logged boolean) RETURNS void
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
BEGIN
    IF p_logged THEN
        ALTER TABLE clonedb.rate_limit_buckets SET LOGGED;
    ELSE
        ALTER TABLE clonedb.rate_limit_buckets SET UNLOGGED;
    END IF;
END
$$;

COMMENT ON FUNCTION clonedb.log_rate_limits(boolean) IS
'Makes the buckets survive a crash, or start full after one. Nobody takes tokens while the table is
written anew; with logged buckets whoever is admitted waits for the disk.';

GRANT EXECUTE ON FUNCTION clonedb.log_rate_limits(boolean) TO clonedb_migrator, clonedb_dba;
GRANT EXECUTE ON FUNCTION
clonedb.take_tokens(text, double precision [], integer [], uuid [], inet),
clonedb.count_denials(text, integer),
clonedb.refund_tokens(uuid)
TO clonedb_app, clonedb_worker;
-- The worker's own statements reset and purge buckets.
GRANT EXECUTE ON FUNCTION
clonedb.rate_limit_subject(inet),
clonedb.tokens_at(double precision, timestamptz, double precision, double precision, timestamptz)
TO clonedb_worker, clonedb_dba;
