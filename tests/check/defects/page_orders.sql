-- Pages that repeat or miss rows.

-- name: by_an_alias(user_id, limit)
-- The order is by the name of a result.
SELECT
    s.id,
    s.started_at AS begun
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = :user_id::uuid
ORDER BY begun DESC
LIMIT :limit::bigint;

-- name: by_a_number(user_id, limit)
-- The order is by the place of a result.
SELECT
    s.started_at,
    s.id
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = :user_id::uuid
ORDER BY 1 DESC
FETCH FIRST (:limit::bigint) ROWS ONLY;

-- name: in_a_cte(user_id, limit)
-- The page is in a CTE, and the rows outside are in good order.
WITH page AS (
    SELECT s.id, s.started_at
    FROM clonedb.conversation_sessions AS s
    WHERE s.user_id = :user_id::uuid
    ORDER BY s.started_at DESC
    LIMIT :limit::bigint
)
SELECT page.id FROM page ORDER BY page.started_at DESC, page.id DESC;

-- name: in_a_sub_select(user_id, limit)
-- The page is in FROM.
SELECT page.id
FROM (
    SELECT s.id
    FROM clonedb.conversation_sessions AS s
    WHERE s.user_id = :user_id::uuid
    ORDER BY s.state
    LIMIT :limit::bigint
) AS page;

-- name: multiplied_by_a_join(user_id, limit)
-- The key of sessions is no key of their turns.
SELECT
    s.id,
    t.turn_number
FROM clonedb.conversation_sessions AS s
INNER JOIN clonedb.conversation_turns AS t ON t.user_id = s.user_id AND t.session_id = s.id
WHERE s.user_id = :user_id::uuid
ORDER BY s.started_at DESC, s.id DESC
LIMIT :limit::bigint;

-- name: of_the_other_of_two(user_id, limit)
-- The same table twice, and the key is of one of them.
SELECT
    s.id,
    o.id AS other
FROM clonedb.voice_models AS s
INNER JOIN clonedb.voice_models AS o ON o.user_id = s.user_id AND o.provider = s.provider
WHERE s.user_id = :user_id::uuid
ORDER BY s.id
LIMIT :limit::bigint;

-- name: of_a_union(user_id, limit)
-- What is unique in each is not in both.
SELECT v.user_id, v.provider AS what
FROM clonedb.voice_models AS v
WHERE v.user_id = :user_id::uuid
UNION ALL
SELECT f.user_id, f.model_path
FROM clonedb.face_models AS f
WHERE f.user_id = :user_id::uuid
ORDER BY what
LIMIT :limit::bigint;

-- name: without_any_order(user_id, limit, offset)
-- No order at all.
SELECT s.id
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = :user_id::uuid
LIMIT :limit::bigint OFFSET :offset::bigint;

-- name: by_a_rounded_key(user_id, limit)
-- A function of the key is not the key.
SELECT s.id
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = :user_id::uuid
ORDER BY s.started_at, clonedb.uuid_v7_time(s.id)
LIMIT :limit::bigint;

-- name: of_groups(user_id, limit)
-- Groups by two columns, in the order of one.
SELECT
    s.llm_provider,
    s.state,
    count(*) AS n
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = :user_id::uuid
GROUP BY s.llm_provider, s.state
ORDER BY s.state
LIMIT :limit::bigint;

-- name: across_users(limit)
-- The id of a session is its key together with the user alone.
-- users: all
SELECT s.id
FROM clonedb.conversation_sessions AS s
WHERE s.deleted_at IS NOT NULL
ORDER BY s.deleted_at, s.state
LIMIT :limit::bigint;

-- name: one_of_two_orders(user_id, limit)
-- The order that is not the default.
SELECT v.id
FROM clonedb.voice_models AS v
WHERE v.user_id = :user_id::uuid
ORDER BY v.created_at DESC, v.id DESC  -- order: newest
ORDER BY v.provider  -- order: provider
LIMIT :limit::bigint;
