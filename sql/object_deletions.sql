-- The outbox of the object store: objects that lost their row, for the worker login.
--
-- A claim is a time in the future: whoever is killed leaves the entry to be claimed again, and deleting
-- an object twice is no harm.

-- name: claim_due(limit, lease_seconds, now)
-- Takes entries that are due, the oldest first, and says of each whether a row still has the object.
-- SKIP LOCKED: workers that ask at once pass each other's rows by instead of waiting.
-- lane: pool
-- plan_cache_mode: force_custom_plan
-- users: all
WITH moment AS (
    SELECT coalesce(:now::timestamptz, statement_timestamp()) AS now
),
due AS (
    SELECT d.id
    FROM clonedb.object_deletions AS d
    WHERE d.due_at <= (SELECT moment.now FROM moment)
    ORDER BY
        d.due_at,
        d.id
    LIMIT :limit::bigint
    FOR NO KEY UPDATE SKIP LOCKED
),
claimed AS (
    UPDATE clonedb.object_deletions AS d
    SET
        attempts = d.attempts + 1,
        due_at = moment.now + make_interval(secs => :lease_seconds::double precision)
    FROM due, moment
    WHERE d.id = due.id
    RETURNING
        d.id,
        d.object_key,
        d.attempts
)
SELECT
    claimed.id,
    claimed.object_key,
    claimed.attempts,
    EXISTS (
        SELECT
        FROM clonedb.stored_objects AS o
        WHERE o.object_key = claimed.object_key
    )
    OR EXISTS (
        SELECT
        FROM clonedb.object_uploads AS u
        WHERE u.object_key = claimed.object_key
    ) AS in_use
FROM claimed
ORDER BY claimed.id;

-- name: expire_uploads(limit, now)!
-- Moves uploads that were given up without a word to the outbox.
-- lane: pool
-- plan_cache_mode: force_custom_plan
-- users: all
WITH expired AS (
    SELECT
        u.user_id,
        u.object_key
    FROM clonedb.object_uploads AS u
    WHERE u.expires_at <= coalesce(:now::timestamptz, statement_timestamp())
    ORDER BY u.expires_at
    LIMIT :limit::bigint
    FOR UPDATE SKIP LOCKED
),
removed AS (
    DELETE FROM clonedb.object_uploads AS u
    USING expired
    WHERE u.user_id = expired.user_id
        AND u.object_key = expired.object_key
    RETURNING u.object_key
)
INSERT INTO clonedb.object_deletions (object_key)
SELECT removed.object_key
FROM removed;

-- name: fail(id, attempts, error, now)$
-- Puts off an entry whose attempt failed: a minute, then twice as long each time, at most six hours.
-- One that was claimed again meanwhile is another's.
UPDATE clonedb.object_deletions AS d
SET
    last_error = :error::text,
    due_at = coalesce(:now::timestamptz, statement_timestamp())
    + least(make_interval(mins => (2 ^ least(d.attempts - 1, 9))::integer), interval '6 hours')
WHERE d.id = :id::uuid
    AND d.attempts = :attempts::bigint
RETURNING d.due_at;

-- name: finish(ids)!
-- Removes entries whose objects are deleted.
DELETE FROM clonedb.object_deletions AS d
WHERE d.id = ANY(:ids::uuid[]);

-- name: statistics(now)^
-- How much is still to be deleted.
-- users: all
SELECT
    count(*) AS pending,
    count(*) FILTER (
        WHERE d.due_at <= coalesce(:now::timestamptz, statement_timestamp())
    ) AS due,
    count(*) FILTER (WHERE d.last_error IS NOT NULL) AS failing,
    min(d.created_at) AS oldest_at,
    (
        SELECT count(*)
        FROM clonedb.object_uploads
    ) AS uploads
FROM clonedb.object_deletions AS d;
