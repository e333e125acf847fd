-- Creates the daily quotas, and the function by which a conversation uses one up.
-- depends: 0021_create_token_bucket
-- why: seconds of conversation are what costs money: the quota is a row, its use durable, and no two
--   devices of a user can have the same last minute.
-- phase: before deploy
-- locks: none
-- rollback: drops the function, and the table with every row in it

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

GRANT EXECUTE ON FUNCTION clonedb.use_conversation(numeric, integer)
TO clonedb_app, clonedb_worker;
