-- Reads cached entries in the context of one user alone again.

SET LOCAL ROLE clonedb_owner;

ALTER POLICY own_and_shared_rows_to_read ON clonedb.embedding_cache
USING (user_id = ANY(ARRAY[
    (SELECT clonedb.current_user_id()), '00000000-0000-0000-0000-000000000000'::uuid
]));
ALTER POLICY own_and_shared_rows_to_read ON clonedb.vector_search_cache
USING (user_id = ANY(ARRAY[
    (SELECT clonedb.current_user_id()), '00000000-0000-0000-0000-000000000000'::uuid
]));
ALTER POLICY own_and_shared_rows_to_read ON clonedb.llm_response_cache
USING (user_id = ANY(ARRAY[
    (SELECT clonedb.current_user_id()), '00000000-0000-0000-0000-000000000000'::uuid
]));
ALTER POLICY own_and_shared_rows_to_read ON clonedb.audio_chunk_cache
USING (user_id = ANY(ARRAY[
    (SELECT clonedb.current_user_id()), '00000000-0000-0000-0000-000000000000'::uuid
]));
ALTER POLICY own_and_shared_rows_to_read ON clonedb.cache_changes
USING (user_id = ANY(ARRAY[
    (SELECT clonedb.current_user_id()), '00000000-0000-0000-0000-000000000000'::uuid
]));
DROP FUNCTION clonedb.current_user_ids();
