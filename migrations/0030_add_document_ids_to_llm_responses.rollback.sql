-- Drops the documents of cached LLM responses.

SET LOCAL ROLE clonedb_owner;

-- squawk-ignore ban-drop-column
ALTER TABLE clonedb.llm_response_cache DROP COLUMN document_ids;
