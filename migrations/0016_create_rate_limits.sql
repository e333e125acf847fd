-- Creates the rules of the rate limits, the token buckets and the counts by window.
-- depends: 0015_create_cache_fill_leases
-- why: limits live beside the data and are exact under any concurrency; rules are rows, so that a
--   change needs no release.
-- phase: before deploy
-- locks: SHARE ROW EXCLUSIVE on clonedb.users, for an instant
-- rollback: drops the tables with every row in them
--
-- The app reads what is its user's own and writes nothing here: functions take tokens and count.

SET LOCAL ROLE clonedb_owner;

CREATE TABLE clonedb.rate_limit_rules (
    tier text NOT NULL,
    scope text NOT NULL,
    endpoint text NOT NULL,
    capacity double precision NOT NULL,
    refill_per_second double precision NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT rate_limit_rules_pkey PRIMARY KEY (scope, endpoint, tier),
    CONSTRAINT rate_limit_rules_tier_is_known CHECK (
        tier IN ('*', 'free', 'pro', 'enterprise')
    ),
    CONSTRAINT rate_limit_rules_scope_is_known CHECK (
        scope IN ('user', 'endpoint', 'address', 'everybody')
    ),
    CONSTRAINT rate_limit_rules_tier_is_of_users CHECK (scope = 'user' OR tier = '*'),
    CONSTRAINT rate_limit_rules_endpoint_is_short CHECK (
        char_length(endpoint) BETWEEN 1 AND 200
    ),
    CONSTRAINT rate_limit_rules_capacity_is_plausible CHECK (
        capacity >= 1 AND capacity <= 1000000000
    ),
    CONSTRAINT rate_limit_rules_refill_per_second_is_plausible CHECK (
        refill_per_second = 0 OR (refill_per_second >= 1e-9 AND refill_per_second <= 1000000000)
    )
);

COMMENT ON TABLE clonedb.rate_limit_rules IS
'How much is allowed: a token bucket''s size and refill by tier, scope and endpoint.';
COMMENT ON COLUMN clonedb.rate_limit_rules.tier IS
'The subscription tier that it is for; * for every one, and for scopes other than user.';
COMMENT ON COLUMN clonedb.rate_limit_rules.scope IS
'What has a bucket: each user, each endpoint, each address of somebody not logged in, or everybody
together.';
COMMENT ON COLUMN clonedb.rate_limit_rules.endpoint IS
'What is called; * for whatever has no rule of its own.';
COMMENT ON COLUMN clonedb.rate_limit_rules.capacity IS
'Tokens in a full bucket: the most at once.';
COMMENT ON COLUMN clonedb.rate_limit_rules.refill_per_second IS
'Tokens that come back in a second: the most in the long run. With 0 what is taken is gone until a
reset.';
COMMENT ON COLUMN clonedb.rate_limit_rules.created_at IS 'When the rule was made.';
COMMENT ON COLUMN clonedb.rate_limit_rules.updated_at IS 'When it last changed.';

-- A start, to be tuned by whoever knows the load: a conversation makes a few calls a second in
-- bursts, so that a minute's worth fits in the bucket of each tier.
INSERT INTO clonedb.rate_limit_rules (tier, scope, endpoint, capacity, refill_per_second)
VALUES
('free', 'user', '*', 60, 1),
('pro', 'user', '*', 300, 5),
('enterprise', 'user', '*', 1200, 20),
('*', 'address', '*', 20, 0.2),
('*', 'everybody', '*', 10000, 1000);

GRANT SELECT ON clonedb.rate_limit_rules
TO clonedb_app, clonedb_worker, clonedb_readonly, clonedb_backup;
GRANT INSERT, UPDATE, DELETE ON clonedb.rate_limit_rules TO clonedb_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON clonedb.rate_limit_rules TO clonedb_dba;

-- UNLOGGED: after a crash buckets start full. No index but the key, so that taking tokens rewrites
-- the row in its page (HOT); half of each page is left for that.
CREATE UNLOGGED TABLE clonedb.rate_limit_buckets (
    user_id uuid NOT NULL,
    scope text NOT NULL,
    subject text NOT NULL,
    endpoint text NOT NULL,
    tokens double precision NOT NULL,
    refilled_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT rate_limit_buckets_pkey PRIMARY KEY (user_id, scope, subject, endpoint),
    CONSTRAINT rate_limit_buckets_scope_is_known CHECK (
        scope IN ('user', 'endpoint', 'address', 'everybody')
    ),
    CONSTRAINT rate_limit_buckets_subject_is_of_its_scope CHECK (
        (scope = 'user') = (user_id <> '00000000-0000-0000-0000-000000000000')
        AND (scope = 'address') = (subject <> '')
        AND char_length(subject) <= 200
    ),
    CONSTRAINT rate_limit_buckets_endpoint_is_short CHECK (
        char_length(endpoint) BETWEEN 1 AND 200
    ),
    CONSTRAINT rate_limit_buckets_tokens_is_not_negative CHECK (
        tokens >= 0 AND tokens <= 1000000000
    )
) WITH (fillfactor = 50);

COMMENT ON TABLE clonedb.rate_limit_buckets IS 'How many tokens each subject has left.';
COMMENT ON COLUMN clonedb.rate_limit_buckets.user_id IS
'The subject of scope user; the nil UUID in the other scopes.';
COMMENT ON COLUMN clonedb.rate_limit_buckets.scope IS 'user, endpoint, address or everybody.';
COMMENT ON COLUMN clonedb.rate_limit_buckets.subject IS
'The address in scope address; empty in the others.';
COMMENT ON COLUMN clonedb.rate_limit_buckets.endpoint IS 'The endpoint of the rule.';
COMMENT ON COLUMN clonedb.rate_limit_buckets.tokens IS
'Tokens at refilled_at, with fractions; what came back since is added when they are taken.';
COMMENT ON COLUMN clonedb.rate_limit_buckets.refilled_at IS
'When tokens were last taken, by the wall clock and not the transaction''s.';

DO $protect$
BEGIN
    PERFORM clonedb.protect_user_table('clonedb.rate_limit_buckets');
END
$protect$;

GRANT SELECT ON clonedb.rate_limit_buckets TO clonedb_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON clonedb.rate_limit_buckets TO clonedb_worker, clonedb_dba;
-- Not the subject: it may be a person's address.
GRANT SELECT (user_id, scope, endpoint, tokens, refilled_at) ON clonedb.rate_limit_buckets
TO clonedb_readonly;

-- UNLOGGED too: counts are written in the statement that takes tokens. Logged, its commit would wait
-- for the disk with everybody's bucket locked, and whoever is denied a million times would write a
-- million times to the log. What has to survive a crash is in daily_usage.
CREATE UNLOGGED TABLE clonedb.rate_limits (
    user_id uuid NOT NULL,
    endpoint text NOT NULL,
    window_start timestamptz NOT NULL,
    request_count bigint NOT NULL DEFAULT 0,
    denied_count bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT rate_limits_pkey PRIMARY KEY (user_id, endpoint, window_start),
    CONSTRAINT rate_limits_user_exists FOREIGN KEY (user_id)
    REFERENCES clonedb.users (id) ON DELETE CASCADE,
    CONSTRAINT rate_limits_endpoint_is_short CHECK (char_length(endpoint) BETWEEN 1 AND 200),
    CONSTRAINT rate_limits_request_count_is_not_negative CHECK (request_count >= 0),
    CONSTRAINT rate_limits_denied_count_is_not_negative CHECK (denied_count >= 0)
) WITH (fillfactor = 70);

COMMENT ON TABLE clonedb.rate_limits IS
'How many requests of a user were admitted and denied, by endpoint and minute. Empty after a crash,
like the buckets.';
COMMENT ON COLUMN clonedb.rate_limits.user_id IS 'The user who asked.';
COMMENT ON COLUMN clonedb.rate_limits.endpoint IS 'What was called.';
COMMENT ON COLUMN clonedb.rate_limits.window_start IS 'The minute that is counted.';
COMMENT ON COLUMN clonedb.rate_limits.request_count IS 'Requests admitted in the window.';
COMMENT ON COLUMN clonedb.rate_limits.denied_count IS 'Requests denied in the window.';
COMMENT ON COLUMN clonedb.rate_limits.created_at IS 'When the first request was counted.';
COMMENT ON COLUMN clonedb.rate_limits.updated_at IS 'When the last request was counted.';

CREATE INDEX rate_limits_window ON clonedb.rate_limits (window_start);
COMMENT ON INDEX clonedb.rate_limits_window IS 'Windows by age, to purge them.';

DO $protect$
BEGIN
    PERFORM clonedb.protect_user_table('clonedb.rate_limits');
END
$protect$;

GRANT SELECT ON clonedb.rate_limits TO clonedb_app, clonedb_readonly;
GRANT SELECT, INSERT, UPDATE, DELETE ON clonedb.rate_limits TO clonedb_worker, clonedb_dba;
