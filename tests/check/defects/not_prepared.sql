-- What PostgreSQL does not prepare.

-- name: no_table(user_id)
-- A table that no migration has made yet.
SELECT r.id FROM clonedb.reminders AS r WHERE r.user_id = :user_id::uuid;

-- name: no_column_in_a_filter(user_id, mood)
-- Only one filter's variants have it.
SELECT s.id
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = :user_id::uuid
    AND s.mood = :mood::text  -- filter: mood
;

-- name: no_column_in_a_cte(user_id)
-- Inside a data-modifying CTE.
WITH gone AS (DELETE FROM clonedb.face_models AS f WHERE f.user_id = :user_id::uuid RETURNING f.size)
SELECT 1 AS one FROM gone;

-- name: no_function(user_id)
-- A function of other arguments.
SELECT clonedb.uuid_v7_time(s.state) AS at
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = :user_id::uuid;

-- name: no_type(user_id, what)
-- Nothing says what the parameter is.
SELECT s.id, :what AS what
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = :user_id::uuid
    AND :what IS NULL;

-- name: two_flags(user_id)
-- Two flags together are no SQL.
SELECT
    v.id
    , v.provider  -- when: with_provider
    FROM  -- when: from_there
FROM clonedb.voice_models AS v
WHERE v.user_id = :user_id::uuid;

-- name: quotes(user_id)
-- A column in capitals, in quotes.
SELECT s."State" FROM clonedb.conversation_sessions AS s WHERE s.user_id = :user_id::uuid;
