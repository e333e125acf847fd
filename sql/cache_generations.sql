-- Generations: how often each of a user's caches was dropped as a whole.
--
-- Whoever changes documents or the active voice counts up in the statement of the change; these
-- queries do it by hand. `user_id` is the user's in their own scope, and the nil UUID, whose entries
-- are shared, in that of the login.

-- name: count_up(user_id, embedding, vector_search, llm_response, audio_chunk, caches)$
-- Makes every entry of some of a user's caches old, and tells every process: from the commit on.
-- Each figure is 1 for a cache that is dropped and 0 for one that stays; `caches` are the initials.
INSERT INTO clonedb.cache_generations AS g (
    user_id,
    embedding,
    vector_search,
    llm_response,
    audio_chunk
)
VALUES (
    :user_id::uuid,
    :embedding::bigint,
    :vector_search::bigint,
    :llm_response::bigint,
    :audio_chunk::bigint
)
ON CONFLICT (user_id) DO UPDATE SET
    embedding = g.embedding + excluded.embedding,
    vector_search = g.vector_search + excluded.vector_search,
    llm_response = g.llm_response + excluded.llm_response,
    audio_chunk = g.audio_chunk + excluded.audio_chunk,
    updated_at = statement_timestamp()
RETURNING pg_notify('clonedb_caches', clonedb.cache_notice(g.user_id, :caches::text))::text;

-- name: tell(user_id, caches)$
-- Tells every process that entries of a user's caches were dropped, from the commit on.
-- access: write
SELECT pg_notify('clonedb_caches', clonedb.cache_notice(:user_id::uuid, :caches::text))::text;

-- name: tell_all(caches)$
-- Tells every process that entries of everybody were dropped, from the commit on.
-- access: write
SELECT pg_notify('clonedb_caches', :caches::text)::text;
