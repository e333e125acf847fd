-- Drops the indexes, the functions and the policies.

SET LOCAL ROLE clonedb_owner;

DROP INDEX clonedb.knowledge_documents_failed;
DROP INDEX clonedb.conversation_sessions_started;
DROP FUNCTION clonedb.retention_cutoff(text, timestamptz);
DROP FUNCTION clonedb.set_retention(text, integer, boolean);
DROP TABLE clonedb.retention_policies;
