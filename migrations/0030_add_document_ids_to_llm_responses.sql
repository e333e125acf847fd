-- Adds to a cached LLM response the documents that it was made from.
-- depends: 0019_grant_migrations_table
-- why: a changed document must drop the answers made from it, like the searches that found it.
-- phase: before deploy
-- locks: ACCESS EXCLUSIVE on clonedb.llm_response_cache; the column for an instant, its CHECK for
--   one scan of a table that may be emptied at any time
-- rollback: drops the column; answers made from a changed document stay until they expire

SET LOCAL ROLE clonedb_owner;

-- A cache is short, and whoever it keeps waiting can compute for itself.
-- squawk-ignore-file constraint-missing-not-valid
ALTER TABLE clonedb.llm_response_cache ADD COLUMN document_ids uuid[] NOT NULL DEFAULT '{}';

COMMENT ON COLUMN clonedb.llm_response_cache.document_ids IS
'The documents that the answer was made from, so that a changed one drops it.';

ALTER TABLE clonedb.llm_response_cache
ADD CONSTRAINT llm_response_cache_document_ids_are_few CHECK (
    cardinality(document_ids) <= 10000
    AND array_position(document_ids, NULL) IS NULL
);
