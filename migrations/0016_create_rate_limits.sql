-- Creates the rules of the rate limits, the token buckets and the counts by window.
-- depends: 0015_create_cache_fill_leases
-- why: limits live beside the data and are exact under any concurrency; rules are rows, so that a
--   change needs no release.
-- phase: before deploy
-- locks: SHARE ROW EXCLUSIVE on users
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

-- Domains, whose checks a session keeps: a table's CHECKs are read and planned anew in every statement
-- that writes it, which here took as long as the writing. And whatever is not set is not checked.
-- squawk-ignore-file ban-create-domain-with-constraint
CREATE DOMAIN clonedb.rate_limit_scope AS text
CONSTRAINT rate_limit_scope_is_known CHECK (
    value IN ('user', 'endpoint', 'address', 'everybody')
);
COMMENT ON DOMAIN clonedb.rate_limit_scope IS 'What has a bucket.';

CREATE DOMAIN clonedb.rate_limit_endpoint AS text
CONSTRAINT rate_limit_endpoint_is_short CHECK (char_length(value) BETWEEN 1 AND 200);
COMMENT ON DOMAIN clonedb.rate_limit_endpoint IS 'What is called, or * for anything.';

CREATE DOMAIN clonedb.rate_limit_tokens AS double precision
CONSTRAINT rate_limit_tokens_is_not_negative CHECK (value >= 0 AND value <= 1000000000);
COMMENT ON DOMAIN clonedb.rate_limit_tokens IS 'Tokens in a bucket, with fractions.';

CREATE DOMAIN clonedb.rate_limit_count AS bigint
CONSTRAINT rate_limit_count_is_not_negative CHECK (value >= 0);
COMMENT ON DOMAIN clonedb.rate_limit_count IS 'A number of requests.';

-- UNLOGGED: after a crash buckets start full, unless clonedb.log_rate_limits has changed it. No
-- index but the key, so that taking tokens rewrites the row in its page (HOT); half of each page is left
-- for that. Only the owner's functions write it, and they alone keep user, scope and subject in agreement.
CREATE UNLOGGED TABLE clonedb.rate_limit_buckets (
    user_id uuid NOT NULL,
    scope clonedb.rate_limit_scope NOT NULL,
    subject text NOT NULL,
    endpoint clonedb.rate_limit_endpoint NOT NULL,
    tokens clonedb.rate_limit_tokens NOT NULL,
    refilled_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT rate_limit_buckets_pkey PRIMARY KEY (user_id, scope, subject, endpoint)
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
GRANT SELECT, DELETE ON clonedb.rate_limit_buckets TO clonedb_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON clonedb.rate_limit_buckets TO clonedb_dba;
-- Not the subject: it may be a person's address.
GRANT SELECT (user_id, scope, endpoint, tokens, refilled_at) ON clonedb.rate_limit_buckets
TO clonedb_readonly;

-- UNLOGGED too: counts are written in the statement that takes tokens. Logged, its commit would wait
-- for the disk with everybody's bucket locked, and whoever is denied a million times would write a
-- million times to the log. What has to survive a crash is in daily_usage.
CREATE UNLOGGED TABLE clonedb.rate_limits (
    user_id uuid NOT NULL,
    endpoint clonedb.rate_limit_endpoint NOT NULL,
    window_start timestamptz NOT NULL,
    request_count clonedb.rate_limit_count NOT NULL DEFAULT 0,
    denied_count clonedb.rate_limit_count NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT rate_limits_pkey PRIMARY KEY (user_id, endpoint, window_start),
    CONSTRAINT rate_limits_user_exists FOREIGN KEY (user_id)
    REFERENCES clonedb.users (id) ON DELETE CASCADE
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

-- UNLOGGED like the buckets: without the tokens that were taken there is nothing to give back.
CREATE UNLOGGED TABLE clonedb.rate_limit_receipts (
    user_id uuid NOT NULL,
    id uuid NOT NULL,
    subject text NOT NULL,
    cost clonedb.rate_limit_tokens NOT NULL,
    scopes text [] NOT NULL,
    buckets text [] NOT NULL,
    taken_at timestamptz NOT NULL,
    CONSTRAINT rate_limit_receipts_pkey PRIMARY KEY (user_id, id)
);

COMMENT ON TABLE clonedb.rate_limit_receipts IS
'Tokens that may be given back, once, within an hour: what a request has taken that asked for it.';
COMMENT ON COLUMN clonedb.rate_limit_receipts.user_id IS
'Whose request it was; the nil UUID for somebody not logged in.';
COMMENT ON COLUMN clonedb.rate_limit_receipts.id IS 'Known to whoever took them.';
COMMENT ON COLUMN clonedb.rate_limit_receipts.subject IS
'The address of somebody not logged in, as in the buckets; empty for a user.';
COMMENT ON COLUMN clonedb.rate_limit_receipts.cost IS 'Tokens taken from each bucket.';
COMMENT ON COLUMN clonedb.rate_limit_receipts.scopes IS
'The scopes of the buckets that they were taken from, in the order in which those are locked.';
COMMENT ON COLUMN clonedb.rate_limit_receipts.buckets IS 'The endpoints of those buckets.';
COMMENT ON COLUMN clonedb.rate_limit_receipts.taken_at IS 'When they were taken.';

CREATE INDEX rate_limit_receipts_taken ON clonedb.rate_limit_receipts (taken_at);
COMMENT ON INDEX clonedb.rate_limit_receipts_taken IS 'Receipts by age, to purge them.';

DO $protect$
BEGIN
    PERFORM clonedb.protect_user_table('clonedb.rate_limit_receipts');
END
$protect$;

GRANT SELECT, DELETE ON clonedb.rate_limit_receipts TO clonedb_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON clonedb.rate_limit_receipts TO clonedb_dba;
