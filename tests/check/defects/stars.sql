-- Lists of columns that change with the table.

-- name: on_one_line(user_id)
-- The star of everybody.
SELECT * FROM clonedb.voice_models AS v WHERE v.user_id = :user_id::uuid;

-- name: behind_a_comment(user_id)
-- A comment with an apostrophe (it's there) stands between.
SELECT /* it's all */ *
FROM clonedb.voice_models AS v
WHERE v.user_id = :user_id::uuid;

-- name: on_the_next_line(user_id)
-- The keyword, a comment and the star on three lines.
SELECT
    -- that's all
    *
FROM clonedb.voice_models AS v
WHERE v.user_id = :user_id::uuid;

-- name: behind_distinct_on(user_id)
-- DISTINCT ON and its parentheses come first.
SELECT DISTINCT ON (v.provider) *
FROM clonedb.voice_models AS v
WHERE v.user_id = :user_id::uuid
ORDER BY v.provider, v.id;

-- name: in_a_cte(user_id)
-- The last SELECT names its columns, the CTE does not.
WITH mine AS (
    SELECT * FROM clonedb.voice_models AS v WHERE v.user_id = :user_id::uuid
)
SELECT mine.id FROM mine;

-- name: of_a_quoted_alias(user_id)
-- The alias is quoted and has a dot.
SELECT "the.voice" . *
FROM clonedb.voice_models AS "the.voice"
WHERE "the.voice".user_id = :user_id::uuid;

-- name: of_a_composite(user_id)
-- All fields of a whole row.
SELECT (v).*
FROM clonedb.voice_models AS v
WHERE v.user_id = :user_id::uuid;

-- name: the_row_itself(user_id)
-- No star, but the whole row as one value.
SELECT to_jsonb(v) AS voice
FROM clonedb.voice_models AS v
WHERE v.user_id = :user_id::uuid;

-- name: returning_in_a_cte(user_id, id)
-- What a data-modifying CTE gives back.
WITH gone AS (
    DELETE FROM clonedb.face_models AS f
    WHERE f.user_id = :user_id::uuid
        AND f.id = :id::uuid
    RETURNING *
)
SELECT gone.id FROM gone;

-- name: table_command(user_id)
-- TABLE is SELECT * by another name.
WITH known AS (
    TABLE clonedb.session_transitions
)
SELECT known.from_state FROM known WHERE :user_id::uuid IS NOT NULL;

-- name: behind_a_flag(user_id)
-- Only in one variant.
SELECT
    v.id
    , v.*  -- when: with_all
FROM clonedb.voice_models AS v
WHERE v.user_id = :user_id::uuid;

-- name: lateral_star(user_id)
-- Of a lateral sub-select.
SELECT
    v.id,
    more.*
FROM clonedb.voice_models AS v
CROSS JOIN LATERAL (SELECT v.provider, v.status) AS more
WHERE v.user_id = :user_id::uuid;
