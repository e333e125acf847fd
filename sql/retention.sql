-- Retention: how long what is kept, and what is over and may be deleted.
--
-- What is over, the database decides: each of these compares with clonedb.retention_cutoff(), which is
-- NULL for what is not switched on, so that nothing is found. `now` is for tests. What is found is
-- deleted by its own file's hard_delete, under the condition that it is still so: what its user has
-- restored meanwhile stays.
--
-- What was hidden together with its user comes back with the user, or goes with them, and is not found.

-- name: count_expired(now)
-- How much of each policy is over, but for months, which partitions.sql has.
-- lane: pool
-- timeout: 3600 s
-- users: all
-- plan: scan users
SELECT
    p.name,
    CASE p.name
        WHEN 'audit_subjects' THEN (
            SELECT count(*)
            FROM clonedb.audit_subjects AS d
            WHERE d.id < clonedb.uuid_v7_floor(greatest(cutoff.at, 'epoch'))
        )
        WHEN 'cache_use' THEN (
            SELECT count(*)
            FROM clonedb.cache_use AS u
            WHERE u.hour < cutoff.at
        )
        WHEN 'conversation_sessions' THEN (
            SELECT count(*)
            FROM clonedb.conversation_sessions AS s
            WHERE s.started_at < cutoff.at - interval '7 days'
        )
        WHEN 'daily_reservations' THEN (
            SELECT count(*)
            FROM clonedb.daily_reservations AS r
            WHERE r.day < (cutoff.at AT TIME ZONE 'UTC')::date
        )
        WHEN 'daily_usage' THEN (
            SELECT count(*)
            FROM clonedb.daily_usage AS d
            WHERE d.day < (cutoff.at AT TIME ZONE 'UTC')::date
        )
        WHEN 'deleted_conversation_sessions' THEN (
            SELECT count(*)
            FROM clonedb.conversation_sessions AS s
            INNER JOIN clonedb.users AS u ON u.id = s.user_id
            WHERE s.deleted_at < cutoff.at
                AND s.deleted_at IS DISTINCT FROM u.deleted_at
        )
        WHEN 'deleted_face_models' THEN (
            SELECT count(*)
            FROM clonedb.face_models AS f
            INNER JOIN clonedb.users AS u ON u.id = f.user_id
            WHERE f.deleted_at < cutoff.at
                AND f.deleted_at IS DISTINCT FROM u.deleted_at
        )
        WHEN 'deleted_knowledge_documents' THEN (
            SELECT count(*)
            FROM clonedb.knowledge_documents AS d
            INNER JOIN clonedb.users AS u ON u.id = d.user_id
            WHERE d.deleted_at < cutoff.at
                AND d.deleted_at IS DISTINCT FROM u.deleted_at
        )
        WHEN 'deleted_users' THEN (
            SELECT count(*)
            FROM clonedb.users AS u
            WHERE u.deleted_at < cutoff.at
        )
        WHEN 'deleted_voice_models' THEN (
            SELECT count(*)
            FROM clonedb.voice_models AS v
            INNER JOIN clonedb.users AS u ON u.id = v.user_id
            WHERE v.deleted_at < cutoff.at
                AND v.deleted_at IS DISTINCT FROM u.deleted_at
        )
        WHEN 'failed_documents' THEN (
            SELECT count(*)
            FROM clonedb.knowledge_documents AS d
            WHERE d.uploaded_at < cutoff.at
                AND d.status = 'failed'
                AND d.deleted_at IS NULL
        )
        WHEN 'rate_limits' THEN (
            SELECT count(*)
            FROM clonedb.rate_limits AS c
            WHERE c.window_start < cutoff.at
        )
        ELSE 0
    END AS expired
FROM clonedb.retention_policies AS p
CROSS JOIN LATERAL clonedb.retention_cutoff(
    p.name, coalesce(:now::timestamptz, statement_timestamp())
) AS cutoff (at)
WHERE p.enabled
    AND p.name NOT IN ('audit_logs', 'conversation_turns')
ORDER BY p.name;

-- name: find_cutoff(policy, now)$
-- What is older than this is over for a policy; NULL where it is not enabled.
-- lane: pool
SELECT clonedb.retention_cutoff(
    :policy::text, coalesce(:now::timestamptz, statement_timestamp())
) AS cutoff;

-- name: find_deleted_documents(now, limit)
-- Documents that were deleted so long ago that they go, the longest ago first.
-- lane: pool
-- users: all
-- plan: index knowledge_documents_deleted
WITH cutoff AS MATERIALIZED (
    SELECT clonedb.retention_cutoff(
        'deleted_knowledge_documents', coalesce(:now::timestamptz, statement_timestamp())
    ) AS at
)
SELECT
    d.user_id,
    d.id,
    coalesce((SELECT cutoff.at FROM cutoff), 'epoch') AS before
FROM clonedb.knowledge_documents AS d
INNER JOIN clonedb.users AS u ON u.id = d.user_id
WHERE d.deleted_at < (SELECT cutoff.at FROM cutoff)
    AND d.deleted_at IS DISTINCT FROM u.deleted_at
ORDER BY
    d.deleted_at ASC,
    d.user_id ASC,
    d.id ASC
LIMIT :limit::bigint;

-- name: find_deleted_face_models(now, limit)
-- Face models that were deleted so long ago that they go, the longest ago first.
-- lane: pool
-- users: all
-- plan: index face_models_deleted
WITH cutoff AS MATERIALIZED (
    SELECT clonedb.retention_cutoff(
        'deleted_face_models', coalesce(:now::timestamptz, statement_timestamp())
    ) AS at
)
SELECT
    f.user_id,
    f.id,
    coalesce((SELECT cutoff.at FROM cutoff), 'epoch') AS before
FROM clonedb.face_models AS f
INNER JOIN clonedb.users AS u ON u.id = f.user_id
WHERE f.deleted_at < (SELECT cutoff.at FROM cutoff)
    AND f.deleted_at IS DISTINCT FROM u.deleted_at
ORDER BY
    f.deleted_at ASC,
    f.user_id ASC,
    f.id ASC
LIMIT :limit::bigint;

-- name: find_deleted_sessions(now, limit)
-- Sessions that were deleted so long ago that they go, the longest ago first.
-- lane: pool
-- users: all
-- plan: index conversation_sessions_deleted
WITH cutoff AS MATERIALIZED (
    SELECT clonedb.retention_cutoff(
        'deleted_conversation_sessions', coalesce(:now::timestamptz, statement_timestamp())
    ) AS at
)
SELECT
    s.user_id,
    s.id,
    coalesce((SELECT cutoff.at FROM cutoff), 'epoch') AS before
FROM clonedb.conversation_sessions AS s
INNER JOIN clonedb.users AS u ON u.id = s.user_id
WHERE s.deleted_at < (SELECT cutoff.at FROM cutoff)
    AND s.deleted_at IS DISTINCT FROM u.deleted_at
ORDER BY
    s.deleted_at ASC,
    s.user_id ASC,
    s.id ASC
LIMIT :limit::bigint;

-- name: find_deleted_users(now, limit)
-- Users who were deleted so long ago that they go, the longest ago first.
-- lane: pool
-- users: all
WITH cutoff AS MATERIALIZED (
    SELECT clonedb.retention_cutoff(
        'deleted_users', coalesce(:now::timestamptz, statement_timestamp())
    ) AS at
)
SELECT
    u.id AS user_id,
    u.id,
    coalesce((SELECT cutoff.at FROM cutoff), 'epoch') AS before
FROM clonedb.users AS u
WHERE u.deleted_at < (SELECT cutoff.at FROM cutoff)
ORDER BY
    u.deleted_at ASC,
    u.id ASC
LIMIT :limit::bigint;

-- name: find_deleted_voice_models(now, limit)
-- Voice models that were deleted so long ago that they go, the longest ago first.
-- lane: pool
-- users: all
-- plan: index voice_models_deleted
WITH cutoff AS MATERIALIZED (
    SELECT clonedb.retention_cutoff(
        'deleted_voice_models', coalesce(:now::timestamptz, statement_timestamp())
    ) AS at
)
SELECT
    v.user_id,
    v.id,
    coalesce((SELECT cutoff.at FROM cutoff), 'epoch') AS before
FROM clonedb.voice_models AS v
INNER JOIN clonedb.users AS u ON u.id = v.user_id
WHERE v.deleted_at < (SELECT cutoff.at FROM cutoff)
    AND v.deleted_at IS DISTINCT FROM u.deleted_at
ORDER BY
    v.deleted_at ASC,
    v.user_id ASC,
    v.id ASC
LIMIT :limit::bigint;

-- name: find_failed_documents(now, limit)
-- Documents that could not be processed and are so old that they go, the oldest first.
-- lane: pool
-- users: all
-- plan: index knowledge_documents_failed
WITH cutoff AS MATERIALIZED (
    SELECT clonedb.retention_cutoff(
        'failed_documents', coalesce(:now::timestamptz, statement_timestamp())
    ) AS at
)
SELECT
    d.user_id,
    d.id,
    coalesce((SELECT cutoff.at FROM cutoff), 'epoch') AS before
FROM clonedb.knowledge_documents AS d
WHERE d.uploaded_at < (SELECT cutoff.at FROM cutoff)
    AND d.status = 'failed'
    AND d.deleted_at IS NULL
ORDER BY
    d.uploaded_at ASC,
    d.user_id ASC,
    d.id ASC
LIMIT :limit::bigint;

-- name: find_old_sessions(now, limit)
-- Sessions that are so old that they go, the oldest first. A week counts for their turns.
-- lane: pool
-- users: all
-- plan: index conversation_sessions_started
WITH cutoff AS MATERIALIZED (
    SELECT clonedb.retention_cutoff(
        'conversation_sessions', coalesce(:now::timestamptz, statement_timestamp())
    ) - interval '7 days' AS at
)
SELECT
    s.user_id,
    s.id,
    coalesce((SELECT cutoff.at FROM cutoff), 'epoch') AS before
FROM clonedb.conversation_sessions AS s
WHERE s.started_at < (SELECT cutoff.at FROM cutoff)
ORDER BY
    s.started_at ASC,
    s.user_id ASC,
    s.id ASC
LIMIT :limit::bigint;

-- name: find_policies()
-- Every policy.
SELECT
    p.name,
    p.keep_days,
    p.enabled,
    p.description,
    p.updated_at
FROM clonedb.retention_policies AS p
ORDER BY p.name;

-- name: purge_audit_subjects(now, limit)!
-- Deletes details of entries of the audit log that are over, the oldest first; the entries stay.
-- lane: pool
-- users: all
WITH cutoff AS MATERIALIZED (
    SELECT clonedb.retention_cutoff(
        'audit_subjects', coalesce(:now::timestamptz, statement_timestamp())
    ) AS at
)
DELETE FROM clonedb.audit_subjects AS d
WHERE d.ctid = ANY(
        ARRAY(
            SELECT old.ctid
            FROM clonedb.audit_subjects AS old
            WHERE old.id < (SELECT clonedb.uuid_v7_floor(greatest(cutoff.at, 'epoch')) FROM cutoff)
            ORDER BY old.id
            LIMIT :limit::bigint
        )
    );

-- name: purge_cache_use(now, limit)!
-- Deletes hours of the caches' figures that are over, the oldest first.
-- lane: pool
WITH cutoff AS MATERIALIZED (
    SELECT clonedb.retention_cutoff(
        'cache_use', coalesce(:now::timestamptz, statement_timestamp())
    ) AS at
)
DELETE FROM clonedb.cache_use AS u
WHERE u.ctid = ANY(
        ARRAY(
            SELECT old.ctid
            FROM clonedb.cache_use AS old
            WHERE old.hour < (SELECT cutoff.at FROM cutoff)
            ORDER BY old.hour
            LIMIT :limit::bigint
        )
    );

-- name: set_policy(name, keep_days, enabled)^
-- Sets a policy, or of it what is not NULL, and puts that on record; no row where there is none.
-- access: write
SELECT
    p.name,
    p.keep_days,
    p.enabled,
    p.description,
    p.updated_at
FROM clonedb.set_retention(:name::text, :keep_days::integer, :enabled::boolean) AS p;
