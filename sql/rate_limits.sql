-- Rate limits: token buckets, and how many requests of a user were admitted and denied by minute.
--
-- Functions of the owner take tokens, since the app login may not write a bucket, and take the user
-- from the context, so that nobody spends for another.

-- name: count_denials(endpoint, count)^
-- Counts requests of the context's user that were denied without asking; whether the user lives.
-- access: write
SELECT clonedb.count_denials(:endpoint::text, :count::integer) AS counted;

-- name: find_many(user_id, endpoint, window_from, window_before, after_window_start, after_endpoint, limit)
-- One page of a user's counts by minute and endpoint.
SELECT
    c.endpoint,
    c.window_start,
    c.request_count,
    c.denied_count
    , (  -- when: with_total
        SELECT count(*)  -- when: with_total
        FROM clonedb.rate_limits AS c  -- when: with_total
        WHERE c.user_id = :user_id::uuid  -- when: with_total
            AND c.endpoint = :endpoint::text  -- when: with_total; filter: endpoint
            AND c.window_start >= :window_from::timestamptz  -- when: with_total; filter: window_from
            AND c.window_start < :window_before::timestamptz  -- when: with_total; filter: window_before
    ) AS total  -- when: with_total
FROM clonedb.rate_limits AS c
WHERE c.user_id = :user_id::uuid
    AND c.endpoint = :endpoint::text  -- filter: endpoint
    AND c.window_start >= :window_from::timestamptz  -- filter: window_from
    AND c.window_start < :window_before::timestamptz  -- filter: window_before
    AND (c.window_start, c.endpoint) < (:after_window_start::timestamptz, :after_endpoint::text)  -- after: newest
    AND (c.window_start, c.endpoint) > (:after_window_start::timestamptz, :after_endpoint::text)  -- after: oldest
ORDER BY c.window_start DESC, c.endpoint DESC  -- order: newest
ORDER BY c.window_start ASC, c.endpoint ASC  -- order: oldest
LIMIT :limit::bigint;

-- name: look(endpoint, address)^
-- What take would find: for no requests it takes nothing, locks nothing and counts nothing.
SELECT
    t.granted,
    t.scopes,
    t.endpoints,
    t.tiers,
    t.capacities,
    t.refills,
    t.tokens,
    t.aheads,
    t.looked_at
FROM clonedb.take_tokens(:endpoint::text, '{}', '{}', NULL, :address::inet) AS t;

-- name: purge_buckets(idle_seconds, limit)!
-- Deletes buckets that nobody has taken from for a while and that are full again.
-- A full bucket and none are the same, so a purge gives nobody a token: the bucket has to be full
-- under every rule that it may follow, and unchanged when it goes. An index on what every take
-- changes would cost each of them more than this does.
-- lane: pool
-- users: all
-- plan: scan rate_limit_buckets
WITH full_bucket AS (
    SELECT
        b.user_id,
        b.scope,
        b.subject,
        b.endpoint,
        b.tokens,
        b.refilled_at
    FROM clonedb.rate_limit_buckets AS b
    WHERE b.refilled_at < statement_timestamp() - make_interval(secs => :idle_seconds::float8)
        AND NOT EXISTS (
            SELECT
            FROM clonedb.rate_limit_rules AS r
            WHERE r.scope = b.scope
                AND (r.endpoint = b.endpoint OR (r.scope = 'endpoint' AND r.endpoint = '*'))
                AND clonedb.tokens_at(
                    b.tokens,
                    b.refilled_at,
                    r.capacity,
                    r.refill_per_second,
                    statement_timestamp()
                ) < r.capacity
        )
    ORDER BY b.refilled_at
    LIMIT :limit::bigint
)
DELETE FROM clonedb.rate_limit_buckets AS b
USING full_bucket
WHERE b.user_id = full_bucket.user_id
    AND b.scope = full_bucket.scope
    AND b.subject = full_bucket.subject
    AND b.endpoint = full_bucket.endpoint
    AND b.tokens = full_bucket.tokens
    AND b.refilled_at = full_bucket.refilled_at;

-- name: purge_receipts(limit)!
-- Deletes receipts that are too old to be given back, the oldest first.
-- lane: pool
-- users: all
DELETE FROM clonedb.rate_limit_receipts AS t
WHERE t.ctid = ANY(
        ARRAY(
            SELECT old.ctid
            FROM clonedb.rate_limit_receipts AS old
            WHERE old.taken_at < statement_timestamp() - interval '1 hour'
            ORDER BY old.taken_at
            LIMIT :limit::bigint
        )
    )
    AND t.taken_at < statement_timestamp() - interval '1 hour';

-- name: purge_windows(before, limit)!
-- Deletes counts of minutes that are over, the oldest first.
-- lane: pool
-- users: all
DELETE FROM clonedb.rate_limits AS c
WHERE c.ctid = ANY(
        ARRAY(
            SELECT old.ctid
            FROM clonedb.rate_limits AS old
            WHERE old.window_start < :before::timestamptz
            ORDER BY old.window_start
            LIMIT :limit::bigint
        )
    )
    AND c.window_start < :before::timestamptz;

-- name: refund(receipt)^
-- Gives back what a request of the context's user, or of an address, has taken: once.
-- access: write
SELECT clonedb.refund_tokens(:receipt::uuid) AS refunded;

-- name: reset(user_id, endpoint)!
-- Fills a user's own buckets, by deleting them.
DELETE FROM clonedb.rate_limit_buckets AS b
WHERE b.user_id = :user_id::uuid
    AND b.scope = 'user'
    AND b.endpoint = :endpoint::text;  -- filter: endpoint

-- name: reset_address(address, endpoint)!
-- Fills the buckets of an address, by deleting them.
DELETE FROM clonedb.rate_limit_buckets AS b
WHERE b.user_id = '00000000-0000-0000-0000-000000000000'
    AND b.scope = 'address'
    AND b.subject = clonedb.rate_limit_subject(:address::inet)
    AND b.endpoint = :endpoint::text;  -- filter: endpoint

-- name: statistics(user_id, window_from, window_before)
-- What a user's requests add up to by endpoint, most denied first.
SELECT
    c.endpoint,
    sum(c.request_count)::bigint AS request_count,
    sum(c.denied_count)::bigint AS denied_count,
    max(c.request_count + c.denied_count) AS busiest_minute,
    min(c.window_start) AS first_window,
    max(c.window_start) AS last_window
FROM clonedb.rate_limits AS c
WHERE c.user_id = :user_id::uuid
    AND c.window_start >= :window_from::timestamptz  -- filter: window_from
    AND c.window_start < :window_before::timestamptz  -- filter: window_before
GROUP BY c.endpoint
ORDER BY
    denied_count DESC,
    request_count DESC,
    c.endpoint ASC;

-- name: take(endpoint, costs, counts, receipts, address)^
-- Takes tokens for requests one after another, each from every bucket that it concerns or from none.
-- access: write
SELECT
    t.granted,
    t.scopes,
    t.endpoints,
    t.tiers,
    t.capacities,
    t.refills,
    t.tokens,
    t.aheads,
    t.looked_at
FROM clonedb.take_tokens(
    :endpoint::text,
    :costs::float8[],
    :counts::integer[],
    :receipts::uuid[],
    :address::inet
) AS t;
