-- Predicates that a generic plan has no index for.

-- name: null_or_the_other_way_round(user_id, state)
-- The parameter comes second.
SELECT s.id
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = :user_id::uuid
    AND (s.state = :state::text OR /* it's for all */ :state IS NULL);

-- name: null_or_by_negation(user_id, state)
-- By De Morgan.
SELECT s.id
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = :user_id::uuid
    AND NOT (:state::text IS NOT NULL AND s.state <> :state);

-- name: null_or_by_case(user_id, state)
-- CASE says the same.
SELECT s.id
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = :user_id::uuid
    AND CASE WHEN :state::text IS NULL THEN true ELSE s.state = :state END;

-- name: a_switch(user_id, everything)
-- A parameter that switches a predicate off.
SELECT s.id
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = :user_id::uuid
    AND (:everything::boolean OR s.deleted_at IS NULL);

-- name: an_empty_text(user_id, state)
-- The empty text for all.
SELECT s.id
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = :user_id::uuid
    AND (:state::text = '' OR s.state = :state);

-- name: null_or_in_on(user_id, provider)
-- In the condition of a join.
SELECT s.id
FROM clonedb.conversation_sessions AS s
INNER JOIN clonedb.voice_models AS v
    ON v.user_id = s.user_id
        AND v.id = s.voice_model_id
        AND (:provider::text IS NULL OR v.provider = :provider)
WHERE s.user_id = :user_id::uuid;

-- name: null_or_in_an_update(user_id, state)
-- In the WHERE of a data-modifying CTE.
WITH ended AS (
    UPDATE clonedb.conversation_sessions AS s
    SET updated_at = now()
    WHERE s.user_id = :user_id::uuid
        AND (:state::text IS NULL OR s.state = :state)
    RETURNING s.id
)
SELECT ended.id FROM ended;

-- name: coalesce_in_on(user_id)
-- COALESCE in the condition of a join.
SELECT s.id
FROM clonedb.conversation_sessions AS s
LEFT JOIN clonedb.voice_models AS v
    ON v.user_id = s.user_id AND v.id = coalesce(s.voice_model_id, s.face_model_id)
WHERE s.user_id = :user_id::uuid;

-- name: coalesce_in_a_lateral(user_id, before)
-- Inside a lateral sub-select.
SELECT q.id
FROM clonedb.users AS u
CROSS JOIN LATERAL (
    SELECT s.id
    FROM clonedb.conversation_sessions AS s
    WHERE s.user_id = u.id AND s.started_at < coalesce(:before::timestamptz, now())
) AS q
WHERE u.id = :user_id::uuid;

-- name: coalesce_around_a_sub_select(user_id, before)
-- The table is in a sub-select, the predicate outside.
SELECT q.id
FROM (
    SELECT s.id, s.started_at
    FROM clonedb.conversation_sessions AS s
    WHERE s.user_id = :user_id::uuid
) AS q
WHERE q.started_at < coalesce(:before::timestamptz, now());

-- name: coalesce_around_a_cte(user_id, before)
-- The table is in a CTE that is read once, so it is no wall.
WITH mine AS (
    SELECT s.id, s.started_at
    FROM clonedb.conversation_sessions AS s
    WHERE s.user_id = :user_id::uuid
)
SELECT mine.id FROM mine WHERE mine.started_at < coalesce(:before::timestamptz, now());

-- name: coalesce_negated(user_id, state)
-- Behind NOT.
SELECT s.id
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = :user_id::uuid
    AND NOT (s.state = coalesce(:state::text, 'idle'));

-- name: coalesce_in_or(user_id, state)
-- In one part of OR.
SELECT s.id
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = :user_id::uuid
    AND (s.state = 'error' OR s.state = coalesce(:state::text, 'idle'));

-- name: coalesce_and_distinct(user_id, state)
-- With IS NOT DISTINCT FROM.
SELECT s.id
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = :user_id::uuid
    AND s.state IS NOT DISTINCT FROM coalesce(:state::text, s.state);

-- name: coalesce_of_a_boolean(user_id)
-- It is the whole predicate.
SELECT v.id
FROM clonedb.voice_models AS v
WHERE v.user_id = :user_id::uuid
    AND coalesce(v.quality_score > 0.5, false);

-- name: coalesce_in_a_row(user_id, after_started_at, after_id, limit)
-- In the keyset of a page, in the conditional line of its next pages.
SELECT s.id
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = :user_id::uuid
    AND (s.started_at, s.id) < (coalesce(:after_started_at::timestamptz, now()), :after_id::uuid)  -- after: newest
ORDER BY s.started_at DESC, s.id DESC  -- order: newest
LIMIT :limit::bigint;

-- name: coalesce_in_exists(user_id, score)
-- Inside EXISTS, under a quoted alias.
SELECT s.id
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = :user_id::uuid
    AND EXISTS (
        SELECT FROM clonedb.voice_models AS "a voice"
        WHERE "a voice".user_id = s.user_id
            AND coalesce("a voice".quality_score, 0) >= :score::double precision
    );
