-- Asks again of each reader and each part of a statement whether their user lives.

SET LOCAL ROLE clonedb_owner;

ALTER TABLE clonedb.cache_changes RESET (fillfactor);

DO $protect$
BEGIN
    PERFORM clonedb.protect_user_table('clonedb.embedding_cache', 'readable');
    PERFORM clonedb.protect_user_table('clonedb.vector_search_cache', 'readable');
    PERFORM clonedb.protect_user_table('clonedb.llm_response_cache', 'readable');
    PERFORM clonedb.protect_user_table('clonedb.audio_chunk_cache', 'readable');
    PERFORM clonedb.protect_user_table('clonedb.cache_changes', 'readable');
    PERFORM clonedb.protect_user_table('clonedb.cache_fill_leases');
END
$protect$;
