-- What looks like a defect and is none.

-- name: an_operator_and_a_count(user_id)
-- Stars that multiply and count; an apostrophe that isn't a string.
SELECT
    s.total_turns * 2 AS twice,
    (SELECT count(*) FROM clonedb.voice_models AS v WHERE v.user_id = s.user_id) AS voices
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = :user_id::uuid;

-- name: a_row_that_is_counted(user_id)
-- A whole row is counted, and compared with nothing.
SELECT
    s.id,
    count(v) AS voices
FROM clonedb.conversation_sessions AS s
LEFT JOIN clonedb.voice_models AS v ON v.user_id = s.user_id AND v.id = s.voice_model_id
WHERE s.user_id = :user_id::uuid
    AND (v IS NULL OR v.is_active)
GROUP BY s.id;

-- name: a_sub_select_with_its_columns(user_id)
-- A row of named columns, as JSON.
SELECT to_jsonb(q) AS voice
FROM (
    SELECT v.id, v.provider
    FROM clonedb.voice_models AS v
    WHERE v.user_id = :user_id::uuid
) AS q;

-- name: insert_of_a_select(user_id)
-- The columns of a SELECT that an INSERT takes are of one relation.
INSERT INTO clonedb.object_uploads (user_id, object_key, expires_at)
SELECT id, '02/0123456789abcdef0123456789abcdef', created_at
FROM clonedb.users
WHERE id = :user_id::uuid;

-- name: by_a_quoted_alias(user_id)
-- An alias with a dot in it.
SELECT "a.voice".id
FROM clonedb.voice_models AS "a.voice"
WHERE "a.voice".user_id = :user_id::uuid;

-- name: through_a_cte(user_id, id)
-- The user's key comes from a CTE.
WITH session AS MATERIALIZED (
    SELECT s.user_id AS owner, s.voice_model_id
    FROM clonedb.conversation_sessions AS s
    WHERE s.user_id = :user_id::uuid AND s.id = :id::uuid
)
SELECT v.provider
FROM session
INNER JOIN clonedb.voice_models AS v ON v.user_id = session.owner AND v.id = session.voice_model_id;

-- name: on_the_right_side_of_a_left_join(user_id)
-- What may be missing is bound by what is there.
SELECT
    s.id,
    v.provider
FROM clonedb.conversation_sessions AS s
LEFT JOIN clonedb.voice_models AS v ON v.user_id = s.user_id AND v.id = s.voice_model_id
WHERE s.user_id = :user_id::uuid;

-- name: a_page_by_a_key_that_is_fixed(user_id, limit)
-- The user is given, and a joined row is one.
SELECT
    s.id,
    v.provider
FROM clonedb.conversation_sessions AS s
LEFT JOIN clonedb.voice_models AS v ON v.user_id = s.user_id AND v.id = s.voice_model_id
WHERE s.user_id = :user_id::uuid
ORDER BY s.started_at DESC, s.id DESC
LIMIT :limit::bigint;

-- name: a_page_of_groups(user_id, limit)
-- Groups are told apart by what they are grouped by.
SELECT
    s.state,
    count(*) AS many
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = :user_id::uuid
GROUP BY s.state
ORDER BY many DESC, s.state
LIMIT :limit::bigint;

-- name: a_page_of_different_rows(user_id, limit)
-- DISTINCT rows differ in what is listed.
SELECT DISTINCT
    s.llm_provider,
    s.state
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = :user_id::uuid
ORDER BY s.llm_provider, s.state
LIMIT :limit::bigint;

-- name: a_page_of_a_union(user_id, limit)
-- UNION leaves no two rows alike.
SELECT v.model_path FROM clonedb.voice_models AS v WHERE v.user_id = :user_id::uuid
UNION
SELECT f.model_path FROM clonedb.face_models AS f WHERE f.user_id = :user_id::uuid
ORDER BY 1
LIMIT :limit::bigint;

-- name: a_page_of_a_join_in_a_sub_select(user_id, limit)
-- The key of turns, through a sub-select.
SELECT
    q.id,
    q.begun
FROM (
    SELECT
        t.id,
        t.session_id,
        s.started_at AS begun
    FROM clonedb.conversation_sessions AS s
    INNER JOIN clonedb.conversation_turns AS t ON t.user_id = s.user_id AND t.session_id = s.id
    WHERE s.user_id = :user_id::uuid
) AS q
ORDER BY q.begun, q.session_id, q.id
LIMIT :limit::bigint;

-- name: the_oldest(user_id)
-- One value, which is the order itself.
SELECT (
    SELECT s.started_at
    FROM clonedb.conversation_sessions AS s
    WHERE s.user_id = :user_id::uuid
    ORDER BY s.started_at
    LIMIT 1
) AS oldest;

-- name: or_of_columns(user_id, state)
-- OR between columns, and NOT of a parameter alone.
SELECT s.id
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = :user_id::uuid
    AND (s.state = :state::text OR s.ended_at IS NOT NULL)
    AND :state IS NOT NULL;

-- name: coalesce_of_a_result(user_id)
-- COALESCE where no index is looked for: in a result, over a group, in the row that was met.
SELECT coalesce(max(s.total_turns), 0) AS most
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = :user_id::uuid
HAVING coalesce(max(s.total_turns), 0) >= 0;

-- name: coalesce_of_what_is_made_whole(user_id, before)
-- A CTE that is locked is read as a whole in any case.
WITH locked AS (
    SELECT s.id, s.started_at
    FROM clonedb.conversation_sessions AS s
    WHERE s.user_id = :user_id::uuid
    FOR UPDATE
)
SELECT locked.id FROM locked WHERE locked.started_at < coalesce(:before::timestamptz, now());

-- name: wide_enough(user_id, since, least, name)
-- A wider parameter, a day that is meant, a text of another kind.
SELECT s.id
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = :user_id::uuid
    AND s.started_at::date >= :since::date
    AND s.total_turns >= :least::bigint
    AND s.state = :name::varchar;

-- name: told_to_the_caches(user_id, id)
-- The caches are told of in the same statement.
WITH changed AS (
    UPDATE clonedb.voice_models AS v
    SET is_active = false
    WHERE v.user_id = :user_id::uuid AND v.id = :id::uuid
    RETURNING v.user_id
),
told AS (
    INSERT INTO clonedb.cache_changes AS ch (user_id, caches)
    SELECT changed.user_id, ARRAY['audio_chunk'] FROM changed
    ON CONFLICT (user_id, xid) DO UPDATE SET caches = ch.caches || excluded.caches
)
SELECT changed.user_id FROM changed;

-- name: what_no_cache_is_made_of(user_id, id)
-- A write beside them.
UPDATE clonedb.knowledge_documents AS d
SET metadata = '{"title": "vector_search"}'
WHERE d.user_id = :user_id::uuid AND d.id = :id::uuid;

-- name: of_several(user_ids, after)
-- Each row is one of those who are named.
SELECT
    asked.place,
    s.id
FROM unnest(:after::timestamptz[], :user_ids::uuid[]) WITH ORDINALITY AS asked (moment, user_id, place)
INNER JOIN clonedb.conversation_sessions AS s
    ON s.user_id = asked.user_id
        AND s.started_at > asked.moment
ORDER BY asked.place, s.started_at, s.id;
