-- Writes under the caches.

-- name: plain(user_id, id, title)
-- Nothing is told.
UPDATE clonedb.knowledge_documents AS d
SET title = :title::text
WHERE d.user_id = :user_id::uuid AND d.id = :id::uuid;

-- name: by_conflict(user_id, id, title)
-- DO UPDATE changes what INSERT did not.
INSERT INTO clonedb.knowledge_documents AS d (user_id, id, filename, content_type, size_bytes)
VALUES (:user_id::uuid, :id::uuid, 'a', 'text/plain', 1)
ON CONFLICT (user_id, id) DO UPDATE SET title = :title::text;

-- name: in_a_cte(user_id, id)
-- A data-modifying CTE that nobody reads.
WITH off AS (
    UPDATE clonedb.voice_models AS v
    SET is_active = false
    WHERE v.user_id = :user_id::uuid AND v.id = :id::uuid
)
SELECT 1 AS done;

-- name: by_delete(user_id, id)
-- A voice that was active goes.
DELETE FROM clonedb.voice_models AS v
WHERE v.user_id = :user_id::uuid AND v.id = :id::uuid;

-- name: by_merge(user_id, id)
-- MERGE deletes a document.
MERGE INTO clonedb.knowledge_documents AS d
USING (SELECT :id::uuid AS id) AS asked
ON d.user_id = :user_id::uuid AND d.id = asked.id
WHEN MATCHED THEN DELETE;

-- name: in_quotes(user_id, id)
-- The column is quoted, and a comment that it's told to vector_search, llm_response.
UPDATE clonedb.knowledge_documents AS "d"
SET "tags" = '{vector_search,llm_response}'
WHERE "d".user_id = :user_id::uuid AND "d".id = :id::uuid;

-- name: another_cache(user_id, id)
-- It tells of a cache that has nothing to do with it.
WITH changed AS (
    UPDATE clonedb.knowledge_documents AS d
    SET deleted_at = now()
    WHERE d.user_id = :user_id::uuid AND d.id = :id::uuid
    RETURNING d.user_id
)
INSERT INTO clonedb.cache_changes AS ch (user_id, caches)
SELECT changed.user_id, ARRAY['audio_chunk'] FROM changed
ON CONFLICT (user_id, xid) DO UPDATE SET caches = ch.caches || excluded.caches;

-- name: one_of_two(user_id, id)
-- It tells one of the two caches, and the other's name stands elsewhere.
WITH changed AS (
    UPDATE clonedb.knowledge_documents AS d
    SET deleted_at = now()
    WHERE d.user_id = :user_id::uuid AND d.id = :id::uuid AND d.author <> 'llm_response'
    RETURNING d.user_id
)
INSERT INTO clonedb.cache_changes AS ch (user_id, caches)
SELECT changed.user_id, ARRAY['vector_search'] FROM changed
ON CONFLICT (user_id, xid) DO UPDATE SET caches = ch.caches || excluded.caches;

-- name: when_asked(user_id, id)
-- It tells only when a flag is given.
WITH changed AS (
    UPDATE clonedb.voice_models AS v
    SET is_active = false
    WHERE v.user_id = :user_id::uuid AND v.id = :id::uuid
    RETURNING v.user_id
)
, told AS (  -- when: telling
    INSERT INTO clonedb.cache_changes AS ch (user_id, caches)  -- when: telling
    SELECT changed.user_id, ARRAY['audio_chunk'] FROM changed  -- when: telling
    ON CONFLICT (user_id, xid) DO UPDATE SET caches = ch.caches || excluded.caches  -- when: telling
)  -- when: telling
SELECT changed.user_id FROM changed;

-- name: by_forgetting(user_id, id, title)
-- It deletes what was told before.
WITH forgotten AS (
    DELETE FROM clonedb.cache_changes AS ch
    WHERE ch.user_id = :user_id::uuid
)
UPDATE clonedb.knowledge_documents AS d
SET title = :title::text
WHERE d.user_id = :user_id::uuid AND d.id = :id::uuid;
