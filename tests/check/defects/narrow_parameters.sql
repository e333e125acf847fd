-- Parameters that cannot say what their column may hold.

-- name: in_a_row_comparison(user_id, after_started_at, after_id, limit)
-- A keyset, compared as a row.
SELECT s.id
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = :user_id::uuid
    AND (s.started_at, s.id) < (:after_started_at::date, :after_id::uuid)
ORDER BY s.started_at DESC, s.id DESC
LIMIT :limit::bigint;

-- name: in_a_list(user_id, one, other)
-- IN with two of them.
SELECT s.id
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = :user_id::uuid
    AND s.total_latency_ms IN (:one::integer, :other::integer);

-- name: in_between(user_id, least, most)
-- BETWEEN, and cast again to what it should have been.
SELECT s.id
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = :user_id::uuid
    AND s.total_latency_ms BETWEEN :least::smallint::bigint AND :most::bigint;

-- name: in_having(user_id, least)
-- In a join's condition, on the left.
SELECT s.id
FROM clonedb.conversation_sessions AS s
INNER JOIN clonedb.voice_models AS v
    ON v.user_id = s.user_id AND :least::integer < s.total_latency_ms
WHERE s.user_id = :user_id::uuid;

-- name: behind_greatest(user_id, least)
-- Behind a function of the language.
SELECT s.id
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = :user_id::uuid
    AND s.total_latency_ms >= greatest(:least::integer, 5);

-- name: a_fraction_as_an_integer(user_id, least)
-- A share between 0 and 1 that cannot be said.
SELECT v.id
FROM clonedb.voice_models AS v
WHERE v.user_id = :user_id::uuid
    AND v.quality_score >= :least::integer;

-- name: a_short_float(user_id, id, score)
-- Stored with half of its digits.
UPDATE clonedb.voice_models AS v
SET quality_score = :score::real
WHERE v.user_id = :user_id::uuid
    AND v.id = :id::uuid;

-- name: a_time_without_its_zone(user_id, since)
-- A moment that depends on the session's time zone.
SELECT s.id
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = :user_id::uuid
    AND s.started_at >= :since::timestamp;

-- name: in_values_of_many_rows(user_id, one, other)
-- INSERT of two rows.
INSERT INTO clonedb.stored_objects (
    user_id, kind, name, object_key, size_bytes, sha256, content_type
)
VALUES
(:user_id::uuid, 'voice_model', 'a', '00/0123456789abcdef0123456789abcdef', :one::integer, '\x00', 'text/plain'),
(:user_id::uuid, 'voice_model', 'b', '01/0123456789abcdef0123456789abcdef', :other::integer, '\x00', 'text/plain');

-- name: in_insert_select(user_id, size)
-- INSERT of what a SELECT gives.
INSERT INTO clonedb.stored_objects (
    user_id, kind, name, object_key, size_bytes, sha256, content_type
)
SELECT u.id, 'voice_model', 'a', '00/0123456789abcdef0123456789abcdef', :size::integer, '\x00'::bytea, 'text/plain'
FROM clonedb.users AS u
WHERE u.id = :user_id::uuid;

-- name: in_do_update(user_id, id, size)
-- ON CONFLICT DO UPDATE.
INSERT INTO clonedb.stored_objects AS o (
    user_id, id, kind, name, object_key, size_bytes, sha256, content_type
)
VALUES (:user_id::uuid, :id::uuid, 'voice_model', 'a', '00/0123456789abcdef0123456789abcdef', 1, '\x00', 'text/plain')
ON CONFLICT (user_id, id) DO UPDATE SET size_bytes = o.size_bytes + 0 * 1, updated_at = now(), name = :size::varchar(4);

-- name: through_a_cte(user_id, least)
-- Asked for in a CTE, compared outside of it.
WITH asked AS (
    SELECT :least::integer AS least
)
SELECT s.id
FROM clonedb.conversation_sessions AS s
INNER JOIN asked ON s.total_latency_ms >= asked.least
WHERE s.user_id = :user_id::uuid;

-- name: in_merge(user_id, id, sum)
-- MERGE stores it.
MERGE INTO clonedb.conversation_sessions AS s
USING (SELECT :id::uuid AS id) AS asked
ON s.user_id = :user_id::uuid AND s.id = asked.id
WHEN MATCHED THEN UPDATE SET total_latency_ms = :sum::integer;
