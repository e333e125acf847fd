-- Takes the end from the claims, and looks for old ones by their begin again.

SET LOCAL ROLE clonedb_owner;

DROP INDEX clonedb.knowledge_documents_leases;
ALTER TABLE clonedb.knowledge_documents DROP COLUMN lease_expires_at;

CREATE INDEX knowledge_documents_processing
ON clonedb.knowledge_documents (claimed_at, id)
WHERE status = 'processing' AND deleted_at IS NULL;
COMMENT ON INDEX clonedb.knowledge_documents_processing IS
'Claims by age, to take back those whose worker is gone.';
COMMENT ON COLUMN clonedb.knowledge_documents.claimed_at IS
'When a worker took it; a lease is counted from here.';
COMMENT ON COLUMN clonedb.knowledge_documents.attempts IS
'How often it was claimed; a worker may finish only the attempt that it was given.';
