-- Creates the daily usage of users.
-- depends: 0016_create_rate_limits
-- why: a daily quota must survive a crash, unlike the buckets.
-- phase: before deploy
-- locks: SHARE ROW EXCLUSIVE on users
-- rollback: drops the table with every row in it

SET LOCAL ROLE clonedb_owner;

CREATE TABLE clonedb.daily_usage (
    user_id uuid NOT NULL,
    day date NOT NULL,
    conversation_seconds numeric(12, 3) NOT NULL DEFAULT 0,
    turns integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT daily_usage_pkey PRIMARY KEY (user_id, day),
    CONSTRAINT daily_usage_user_exists FOREIGN KEY (user_id)
    REFERENCES clonedb.users (id) ON DELETE CASCADE,
    CONSTRAINT daily_usage_day_is_finite CHECK (isfinite(day)),
    CONSTRAINT daily_usage_conversation_seconds_is_not_negative CHECK (
        conversation_seconds >= 0 AND conversation_seconds <> 'NaN'
    ),
    CONSTRAINT daily_usage_turns_is_not_negative CHECK (turns >= 0)
) WITH (fillfactor = 80);

COMMENT ON TABLE clonedb.daily_usage IS 'What a user has used of the daily quotas.';
COMMENT ON COLUMN clonedb.daily_usage.user_id IS 'The user.';
COMMENT ON COLUMN clonedb.daily_usage.day IS 'The day, in UTC.';
COMMENT ON COLUMN clonedb.daily_usage.conversation_seconds IS
'Seconds of conversation on that day, to the thousandth.';
COMMENT ON COLUMN clonedb.daily_usage.turns IS 'Turns on that day.';
COMMENT ON COLUMN clonedb.daily_usage.created_at IS 'When the day''s first use was counted.';
COMMENT ON COLUMN clonedb.daily_usage.updated_at IS 'When the day''s last use was counted.';

CREATE INDEX daily_usage_day ON clonedb.daily_usage (day);
COMMENT ON INDEX clonedb.daily_usage_day IS 'Usage by day, across users, and to purge it.';

DO $protect$
BEGIN
    PERFORM clonedb.protect_user_table('clonedb.daily_usage');
END
$protect$;

-- Written by the worker, or through functions: nobody resets their own quota.
GRANT SELECT ON clonedb.daily_usage TO clonedb_app, clonedb_readonly;
GRANT SELECT, INSERT, UPDATE, DELETE ON clonedb.daily_usage TO clonedb_worker, clonedb_dba;
