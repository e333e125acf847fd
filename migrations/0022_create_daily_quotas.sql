-- Creates the daily quotas, and the functions by which a conversation uses one up, or reserves of it
-- and settles afterwards.
-- depends: 0021_create_token_bucket
-- why: seconds of conversation are what costs money: the quota is a row, its use durable, and no two
--   devices of a user can have the same last minute.
-- phase: before deploy
-- locks: SHARE ROW EXCLUSIVE on users
-- rollback: drops the functions, and the tables with every row in them

SET LOCAL ROLE clonedb_owner;

CREATE TABLE clonedb.daily_quotas (
    tier text NOT NULL,
    conversation_seconds numeric(12, 3),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT daily_quotas_pkey PRIMARY KEY (tier),
    CONSTRAINT daily_quotas_tier_is_known CHECK (tier IN ('free', 'pro', 'enterprise')),
    CONSTRAINT daily_quotas_conversation_seconds_is_plausible CHECK (
        conversation_seconds >= 0 AND conversation_seconds < 1000000
    )
);

COMMENT ON TABLE clonedb.daily_quotas IS 'How much a user of a tier may use in a day.';
COMMENT ON COLUMN clonedb.daily_quotas.tier IS 'The subscription tier.';
COMMENT ON COLUMN clonedb.daily_quotas.conversation_seconds IS
'Seconds of conversation in a day, of all a user''s sessions together; NULL for as many as they like.';
COMMENT ON COLUMN clonedb.daily_quotas.created_at IS 'When the quota was made.';
COMMENT ON COLUMN clonedb.daily_quotas.updated_at IS 'When it last changed.';

-- A start, to be tuned by whoever knows the prices: half an hour to try, four hours, no bound.
INSERT INTO clonedb.daily_quotas (tier, conversation_seconds)
VALUES
('free', 1800),
('pro', 14400),
('enterprise', NULL);

GRANT SELECT ON clonedb.daily_quotas
TO clonedb_app, clonedb_worker, clonedb_readonly, clonedb_backup;
GRANT INSERT, UPDATE, DELETE ON clonedb.daily_quotas TO clonedb_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON clonedb.daily_quotas TO clonedb_dba;

CREATE FUNCTION clonedb.use_conversation(p_seconds numeric, p_turns integer)
RETURNS TABLE (
    outcome text,
    used_day date,
    quota numeric,
    used_seconds numeric,
    used_turns integer,
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
    v_seconds numeric;
BEGIN
    IF (p_seconds > 0 AND p_seconds <= 86400 AND p_turns BETWEEN 0 AND 1000000) IS NOT TRUE THEN
        RAISE EXCEPTION 'a use is of more than 0 and at most 86,400 seconds, and of 0 turns or more'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF v_user_id IS NULL THEN
        outcome := 'no_user';
        RETURN NEXT;
        RETURN;
    END IF;

    used_day := (clock_timestamp() AT TIME ZONE 'UTC')::date;
    reset_at := (used_day + 1)::timestamp AT TIME ZONE 'UTC';
    quota := (
        SELECT q.conversation_seconds
        FROM clonedb.users AS u
        INNER JOIN clonedb.daily_quotas AS q ON q.tier = u.subscription_tier
        WHERE u.id = v_user_id
    );
    -- Up: what the column would round away could be used without end.
    v_seconds := ceil(p_seconds * 1000) / 1000;
    -- A look without a lock, so that whoever is over quota writes nothing.
    SELECT
        d.conversation_seconds,
        d.turns
    INTO used_seconds, used_turns
    FROM clonedb.daily_usage AS d
    WHERE d.user_id = v_user_id
        AND d.day = used_day;

    outcome := 'over_quota';
    IF quota IS NULL OR coalesce(used_seconds, 0) + v_seconds <= quota THEN
        INSERT INTO clonedb.daily_usage AS d (user_id, day, conversation_seconds, turns)
        VALUES (v_user_id, used_day, v_seconds, p_turns)
        ON CONFLICT ON CONSTRAINT daily_usage_pkey DO UPDATE
        SET
            conversation_seconds = d.conversation_seconds + excluded.conversation_seconds,
            turns = d.turns + excluded.turns,
            updated_at = clock_timestamp()
        WHERE quota IS NULL OR d.conversation_seconds + excluded.conversation_seconds <= quota
        RETURNING
            d.conversation_seconds,
            d.turns
        INTO used_seconds, used_turns;
        IF FOUND THEN
            outcome := 'used';
        ELSE
            SELECT
                d.conversation_seconds,
                d.turns
            INTO used_seconds, used_turns
            FROM clonedb.daily_usage AS d
            WHERE d.user_id = v_user_id
                AND d.day = used_day;
        END IF;
    END IF;
    used_seconds := coalesce(used_seconds, 0);
    used_turns := coalesce(used_turns, 0);
    RETURN NEXT;
END
$$;

COMMENT ON FUNCTION clonedb.use_conversation(numeric, integer) IS
'Uses seconds of the context''s user''s quota of today (UTC), all or none. The row says which: used,
over_quota (nothing is written) or no_user; with the quota (NULL for none), what is used by now, and
when the next day begins.';

CREATE TABLE clonedb.daily_reservations (
    user_id uuid NOT NULL,
    id uuid NOT NULL,
    day date NOT NULL,
    reserved_seconds numeric(12, 3) NOT NULL,
    settled_seconds numeric(12, 3),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT daily_reservations_pkey PRIMARY KEY (user_id, id),
    CONSTRAINT daily_reservations_user_exists FOREIGN KEY (user_id)
    REFERENCES clonedb.users (id) ON DELETE CASCADE,
    CONSTRAINT daily_reservations_id_is_uuid_v7 CHECK (clonedb.is_uuid_v7(id)),
    CONSTRAINT daily_reservations_settled_seconds_is_of_the_reserved CHECK (
        settled_seconds >= 0 AND settled_seconds <= reserved_seconds
    )
);

COMMENT ON TABLE clonedb.daily_reservations IS
'Seconds of a day''s quota that are counted as used until a conversation has ended and it is known
how many were.';
COMMENT ON COLUMN clonedb.daily_reservations.user_id IS 'The user.';
COMMENT ON COLUMN clonedb.daily_reservations.id IS
'A UUIDv7, made by the caller: the same one reserves once.';
COMMENT ON COLUMN clonedb.daily_reservations.day IS 'The day, in UTC, whose quota it is.';
COMMENT ON COLUMN clonedb.daily_reservations.reserved_seconds IS
'The most that the conversation may take.';
COMMENT ON COLUMN clonedb.daily_reservations.settled_seconds IS
'What it has taken; NULL until it is settled, and for ever where nobody does.';
COMMENT ON COLUMN clonedb.daily_reservations.created_at IS 'When it was reserved.';
COMMENT ON COLUMN clonedb.daily_reservations.updated_at IS 'When it was settled.';

CREATE INDEX daily_reservations_day ON clonedb.daily_reservations (day);
COMMENT ON INDEX clonedb.daily_reservations_day IS 'Reservations by day, to purge them.';

DO $protect$
BEGIN
    PERFORM clonedb.protect_user_table('clonedb.daily_reservations');
END
$protect$;

GRANT SELECT ON clonedb.daily_reservations TO clonedb_app, clonedb_readonly;
GRANT SELECT, DELETE ON clonedb.daily_reservations TO clonedb_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON clonedb.daily_reservations TO clonedb_dba;

CREATE FUNCTION clonedb.reserve_conversation(p_id uuid, p_seconds numeric)
RETURNS TABLE (
    outcome text,
    used_day date,
    quota numeric,
    used_seconds numeric,
    used_turns integer,
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
    v_reserved record;
BEGIN
    SELECT
        r.day,
        r.reserved_seconds
    INTO v_reserved
    FROM clonedb.daily_reservations AS r
    WHERE r.user_id = v_user_id
        AND r.id = p_id;
    IF FOUND THEN
        outcome := CASE v_reserved.reserved_seconds
            WHEN ceil(p_seconds * 1000) / 1000 THEN 'used'
            ELSE 'other_seconds'
        END;
        SELECT
            v_reserved.day,
            q.conversation_seconds,
            coalesce(d.conversation_seconds, 0),
            coalesce(d.turns, 0),
            (v_reserved.day + 1)::timestamp AT TIME ZONE 'UTC'
        INTO used_day, quota, used_seconds, used_turns, reset_at
        FROM clonedb.users AS u
        LEFT JOIN clonedb.daily_quotas AS q ON q.tier = u.subscription_tier
        LEFT JOIN clonedb.daily_usage AS d
            ON d.user_id = u.id
                AND d.day = v_reserved.day
        WHERE u.id = v_user_id;
        RETURN NEXT;
        RETURN;
    END IF;

    SELECT
        t.outcome,
        t.used_day,
        t.quota,
        t.used_seconds,
        t.used_turns,
        t.reset_at
    INTO outcome, used_day, quota, used_seconds, used_turns, reset_at
    FROM clonedb.use_conversation(p_seconds, 0) AS t;
    IF outcome = 'used' THEN
        INSERT INTO clonedb.daily_reservations (user_id, id, day, reserved_seconds)
        VALUES (v_user_id, p_id, used_day, ceil(p_seconds * 1000) / 1000)
        ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN
            -- The same call, at the same time: it has reserved, and this one takes nothing.
            RAISE EXCEPTION 'the reservation is being made by another call'
                USING ERRCODE = 'serialization_failure';
        END IF;
    END IF;
    RETURN NEXT;
END
$$;

COMMENT ON FUNCTION clonedb.reserve_conversation(uuid, numeric) IS
'Uses seconds of the context''s user''s quota of today as use_conversation does, to be settled. The
same id reserves once: again it says the same, or other_seconds where it was for as many others.';

CREATE FUNCTION clonedb.settle_conversation(p_id uuid, p_seconds numeric, p_turns integer)
RETURNS TABLE (
    outcome text,
    used_day date,
    quota numeric,
    used_seconds numeric,
    used_turns integer,
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
    v_seconds constant numeric := ceil(p_seconds * 1000) / 1000;
    v_reserved record;
BEGIN
    IF (p_seconds >= 0 AND p_seconds <= 86400 AND p_turns BETWEEN 0 AND 1000000) IS NOT TRUE THEN
        RAISE EXCEPTION 'what is settled are 0 to 86,400 seconds, and 0 turns or more'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT
        r.day,
        r.reserved_seconds,
        r.settled_seconds
    INTO v_reserved
    FROM clonedb.daily_reservations AS r
    WHERE r.user_id = v_user_id
        AND r.id = p_id
    FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        outcome := 'no_reservation';
        RETURN NEXT;
        RETURN;
    END IF;

    outcome := 'settled';
    IF v_reserved.settled_seconds IS NOT NULL THEN
        IF v_reserved.settled_seconds <> v_seconds THEN
            outcome := 'other_seconds';
        END IF;
    ELSIF v_seconds > v_reserved.reserved_seconds THEN
        outcome := 'not_reserved';
    ELSE
        UPDATE clonedb.daily_reservations AS r
        SET
            settled_seconds = v_seconds,
            updated_at = clock_timestamp()
        WHERE r.user_id = v_user_id
            AND r.id = p_id;
        UPDATE clonedb.daily_usage AS d
        SET
            conversation_seconds = d.conversation_seconds
            - (v_reserved.reserved_seconds - v_seconds),
            turns = d.turns + p_turns,
            updated_at = clock_timestamp()
        WHERE d.user_id = v_user_id
            AND d.day = v_reserved.day;
    END IF;
    SELECT
        v_reserved.day,
        q.conversation_seconds,
        coalesce(d.conversation_seconds, 0),
        coalesce(d.turns, 0),
        (v_reserved.day + 1)::timestamp AT TIME ZONE 'UTC'
    INTO used_day, quota, used_seconds, used_turns, reset_at
    FROM clonedb.users AS u
    LEFT JOIN clonedb.daily_quotas AS q ON q.tier = u.subscription_tier
    LEFT JOIN clonedb.daily_usage AS d
        ON d.user_id = u.id
            AND d.day = v_reserved.day
    WHERE u.id = v_user_id;
    RETURN NEXT;
END
$$;

COMMENT ON FUNCTION clonedb.settle_conversation(uuid, numeric, integer) IS
'Gives back what of a reservation of the context''s user was not used, to the day that it was reserved
on, once; and counts turns. The row says: settled (also again), other_seconds (it was settled with as
many others), not_reserved (more than was reserved) or no_reservation; with what is used of that day.';

GRANT EXECUTE ON FUNCTION
clonedb.use_conversation(numeric, integer),
clonedb.reserve_conversation(uuid, numeric),
clonedb.settle_conversation(uuid, numeric, integer)
TO clonedb_app, clonedb_worker;
