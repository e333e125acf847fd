-- Another person's rows that come back, or change.

-- name: by_id(user_id, id)
-- The id alone finds it.
SELECT v.model_path
FROM clonedb.voice_models AS v
WHERE v.id = :id::uuid AND :user_id::uuid IS NOT NULL;

-- name: by_or(user_id)
-- One part of OR is everybody's.
SELECT v.model_path
FROM clonedb.voice_models AS v
WHERE v.user_id = :user_id::uuid OR v.is_active;

-- name: by_an_outer_join(user_id)
-- The outer join keeps what does not match.
SELECT v.model_path
FROM clonedb.voice_models AS v
LEFT JOIN clonedb.users AS u ON u.id = v.user_id AND u.id = :user_id::uuid;

-- name: hidden_in_json(user_id)
-- The name is inside a jsonb value.
SELECT jsonb_build_object('list', (SELECT jsonb_agg(v.model_path) FROM clonedb.voice_models AS v)) AS all_of_them
FROM clonedb.users AS u
WHERE u.id = :user_id::uuid;

-- name: a_list(user_id, friends)
-- Others are named by a list.
SELECT v.model_path
FROM clonedb.voice_models AS v
WHERE v.user_id = ANY(:friends::uuid[]) AND :user_id::uuid IS NOT NULL;

-- name: a_change_by_a_cte(user_id, id)
-- A data-modifying CTE changes it, and nothing comes back.
WITH changed AS (
    UPDATE clonedb.face_models AS f SET metadata = '{"x": 1}' WHERE f.id = :id::uuid
)
SELECT :user_id::uuid IS NOT NULL AS done;

-- name: a_deletion(user_id, id)
-- It goes.
DELETE FROM clonedb.stored_objects AS o
WHERE o.id = :id::uuid AND :user_id::uuid IS NOT NULL;

-- name: an_insertion(user_id, friend)
-- A row in another's name.
INSERT INTO clonedb.object_uploads (user_id, object_key, expires_at)
SELECT :friend::uuid, '02/0123456789abcdef0123456789abcdef', 'infinity'
WHERE :user_id::uuid IS NOT NULL;
