-- Gives a claim of a document the moment when it ends by itself.
-- depends: 0019_grant_migrations_table
-- why: a worker that dies leaves its claims behind. With the end stored, whoever looks for work sees
--   them without knowing how long each worker asked for, and a worker can ask for longer.
-- phase: before deploy
-- locks: ACCESS EXCLUSIVE on knowledge_documents, for an instant: no release has stored any yet
-- rollback: drops the column; claims are then without an end

SET LOCAL ROLE clonedb_owner;

ALTER TABLE clonedb.knowledge_documents ADD COLUMN lease_expires_at timestamptz;
-- squawk-ignore constraint-missing-not-valid
ALTER TABLE clonedb.knowledge_documents ADD CONSTRAINT knowledge_documents_lease_is_of_a_claim
CHECK (
    lease_expires_at IS NULL
    OR (status = 'processing' AND claimed_by IS NOT NULL AND isfinite(lease_expires_at))
);

COMMENT ON COLUMN clonedb.knowledge_documents.lease_expires_at IS
'When the claim ends by itself, and the document may be claimed again; NULL when not claimed.';
COMMENT ON COLUMN clonedb.knowledge_documents.claimed_at IS
'When a worker took it; stays with the one that finished it.';
COMMENT ON COLUMN clonedb.knowledge_documents.attempts IS
'How often it was claimed. It only grows: with claimed_by it tells a claim from every later one.';

-- squawk-ignore require-concurrent-index-creation
CREATE INDEX knowledge_documents_leases
ON clonedb.knowledge_documents (lease_expires_at, id)
WHERE status = 'processing' AND deleted_at IS NULL;
COMMENT ON INDEX clonedb.knowledge_documents_leases IS
'Claims by their end, to hand out again those whose worker is gone.';

-- squawk-ignore require-concurrent-index-deletion
DROP INDEX clonedb.knowledge_documents_processing;

GRANT SELECT (lease_expires_at) ON clonedb.knowledge_documents TO clonedb_readonly;
