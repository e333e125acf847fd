-- Columns without their table where two relations are in sight.

-- name: in_where(user_id)
-- In a condition, behind a comment with an apostrophe.
SELECT s.id
FROM clonedb.conversation_sessions AS s
INNER JOIN clonedb.voice_models AS v ON v.user_id = s.user_id AND v.id = s.voice_model_id
WHERE s.user_id = :user_id::uuid
    AND /* it's the voice's */ provider = 'xtts-v2';

-- name: in_on(user_id)
-- In the condition of a join.
SELECT s.id
FROM clonedb.conversation_sessions AS s
INNER JOIN clonedb.voice_models AS v ON v.user_id = s.user_id AND v.id = voice_model_id
WHERE s.user_id = :user_id::uuid;

-- name: in_order_by(user_id)
-- A column that is not among the results.
SELECT s.id
FROM clonedb.conversation_sessions AS s
INNER JOIN clonedb.voice_models AS v ON v.user_id = s.user_id AND v.id = s.voice_model_id
WHERE s.user_id = :user_id::uuid
ORDER BY started_at;

-- name: in_an_aggregate(user_id)
-- Inside FILTER of an aggregate.
SELECT count(*) FILTER (WHERE total_turns > 3) AS long
FROM clonedb.conversation_sessions AS s
INNER JOIN clonedb.voice_models AS v ON v.user_id = s.user_id AND v.id = s.voice_model_id
WHERE s.user_id = :user_id::uuid;

-- name: quoted(user_id)
-- In quotes, and not qualified.
SELECT "started_at" AS started
FROM clonedb.conversation_sessions AS s
INNER JOIN clonedb.voice_models AS v ON v.user_id = s.user_id AND v.id = s.voice_model_id
WHERE s.user_id = :user_id::uuid;

-- name: in_lateral(user_id)
-- A lateral sub-select reaches around itself.
SELECT
    s.id,
    q.n
FROM clonedb.conversation_sessions AS s
CROSS JOIN LATERAL (
    SELECT count(*) AS n
    FROM clonedb.voice_models AS v
    WHERE v.user_id = s.user_id AND v.id = voice_model_id
) AS q
WHERE s.user_id = :user_id::uuid;

-- name: in_exists(user_id)
-- A sub-select of EXISTS names a column of the query around it.
SELECT s.id
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = :user_id::uuid
    AND EXISTS (
        SELECT FROM clonedb.voice_models AS v
        WHERE v.user_id = s.user_id AND v.id = voice_model_id
    );

-- name: in_update_from(user_id)
-- UPDATE FROM sees the target and the source.
UPDATE clonedb.conversation_sessions AS s
SET updated_at = now()
FROM clonedb.voice_models AS v
WHERE s.user_id = :user_id::uuid
    AND v.user_id = :user_id::uuid
    AND v.id = voice_model_id;

-- name: in_delete_using(user_id)
-- DELETE USING in a CTE.
WITH gone AS (
    DELETE FROM clonedb.face_models AS f
    USING clonedb.conversation_sessions AS s
    WHERE f.user_id = :user_id::uuid
        AND s.user_id = :user_id::uuid
        AND f.id = face_model_id
    RETURNING f.id
)
SELECT gone.id FROM gone;

-- name: behind_a_filter(user_id, least)
-- Only in the variants of a filter.
SELECT s.id
FROM clonedb.conversation_sessions AS s
INNER JOIN clonedb.voice_models AS v ON v.user_id = s.user_id AND v.id = s.voice_model_id
WHERE s.user_id = :user_id::uuid
    AND total_turns >= :least::integer  -- filter: long
;
