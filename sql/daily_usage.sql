-- Daily usage: what users have used of their quotas, by day in UTC.

-- name: find_many(user_id, day_from, day_before, after_day, limit)
-- One page of a user's days.
SELECT
    d.day,
    d.conversation_seconds,
    d.turns
    , (  -- when: with_total
        SELECT count(*)  -- when: with_total
        FROM clonedb.daily_usage AS d  -- when: with_total
        WHERE d.user_id = :user_id::uuid  -- when: with_total
            AND d.day >= :day_from::date  -- when: with_total; filter: day_from
            AND d.day < :day_before::date  -- when: with_total; filter: day_before
    ) AS total  -- when: with_total
FROM clonedb.daily_usage AS d
WHERE d.user_id = :user_id::uuid
    AND d.day >= :day_from::date  -- filter: day_from
    AND d.day < :day_before::date  -- filter: day_before
    AND d.day < :after_day::date  -- after: newest
    AND d.day > :after_day::date  -- after: oldest
ORDER BY d.day DESC  -- order: newest
ORDER BY d.day ASC  -- order: oldest
LIMIT :limit::bigint;

-- name: find_quotas()
-- The quotas of all tiers.
SELECT
    q.tier,
    q.conversation_seconds,
    q.created_at,
    q.updated_at
FROM clonedb.daily_quotas AS q
ORDER BY q.tier;

-- name: purge(before, limit)!
-- Deletes days that are over, the oldest first.
-- lane: pool
-- users: all
DELETE FROM clonedb.daily_usage AS d
WHERE d.ctid = ANY(
        ARRAY(
            SELECT old.ctid
            FROM clonedb.daily_usage AS old
            WHERE old.day < :before::date
                AND old.day < (statement_timestamp() AT TIME ZONE 'UTC')::date
            ORDER BY old.day
            LIMIT :limit::bigint
        )
    )
    AND d.day < :before::date;

-- name: purge_reservations(before, limit)!
-- Deletes reservations of days that are over, the oldest first.
-- lane: pool
-- users: all
DELETE FROM clonedb.daily_reservations AS r
WHERE r.ctid = ANY(
        ARRAY(
            SELECT old.ctid
            FROM clonedb.daily_reservations AS old
            WHERE old.day < :before::date
                AND old.day < (statement_timestamp() AT TIME ZONE 'UTC')::date
            ORDER BY old.day
            LIMIT :limit::bigint
        )
    )
    AND r.day < :before::date;

-- name: put_quota(tier, conversation_seconds)^
-- Stores the quota of a tier, or changes it.
WITH stored AS (
    INSERT INTO clonedb.daily_quotas AS q (tier, conversation_seconds)
    VALUES (:tier::text, :conversation_seconds::numeric)
    ON CONFLICT (tier) DO UPDATE
    SET
        conversation_seconds = excluded.conversation_seconds,
        updated_at = statement_timestamp()
    RETURNING
        q.tier,
        q.conversation_seconds,
        q.created_at,
        q.updated_at
),
audited AS (
    INSERT INTO clonedb.audit_logs (
        actor_ref,
        subject_ref,
        action,
        resource,
        result
    )
    SELECT
        NULL::uuid,
        NULL::uuid,
        'daily_quota.put',
        'daily_quotas',
        'success'
    FROM stored
)
SELECT
    stored.tier,
    stored.conversation_seconds,
    stored.created_at,
    stored.updated_at
FROM stored;

-- name: reserve(id, seconds)^
-- Uses seconds of the context's user's quota of today, to be settled; the same id reserves once.
-- access: write
SELECT
    t.outcome,
    t.used_day,
    t.quota,
    t.used_seconds,
    t.used_turns,
    t.reset_at
FROM clonedb.reserve_conversation(:id::uuid, :seconds::numeric) AS t;

-- name: settle(id, seconds, turns)^
-- Gives back what of a reservation was not used.
-- access: write
SELECT
    t.outcome,
    t.used_day,
    t.quota,
    t.used_seconds,
    t.used_turns,
    t.reset_at
FROM clonedb.settle_conversation(:id::uuid, :seconds::numeric, :turns::integer) AS t;

-- name: today(user_id)^
-- What a living user has used today, beside the quota.
WITH today AS (
    SELECT (statement_timestamp() AT TIME ZONE 'UTC')::date AS day
)
SELECT
    today.day,
    q.conversation_seconds AS quota,
    coalesce(d.conversation_seconds, 0.000) AS used_seconds,
    coalesce(d.turns, 0) AS used_turns,
    (today.day + 1)::timestamp AT TIME ZONE 'UTC' AS reset_at
FROM clonedb.users AS u
CROSS JOIN today
LEFT JOIN clonedb.daily_quotas AS q ON q.tier = u.subscription_tier
LEFT JOIN clonedb.daily_usage AS d
    ON d.user_id = u.id
        AND d.day = today.day
WHERE u.id = :user_id::uuid
    AND u.deleted_at IS NULL;

-- name: use(seconds, turns)^
-- Uses seconds of the context's user's quota of today, all or none.
-- access: write
SELECT
    t.outcome,
    t.used_day,
    t.quota,
    t.used_seconds,
    t.used_turns,
    t.reset_at
FROM clonedb.use_conversation(:seconds::numeric, :turns::integer) AS t;
