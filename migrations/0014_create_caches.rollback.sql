-- Drops the caches and the function that shows an embedding.

SET LOCAL ROLE clonedb_owner;

DROP TABLE clonedb.audio_chunk_cache;
DROP TABLE clonedb.llm_response_cache;
DROP TABLE clonedb.vector_search_cache;
DROP TABLE clonedb.embedding_cache;
DROP FUNCTION clonedb.embedding_to_real(bytea);
