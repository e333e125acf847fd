-- Indexes the audit log by time again.

-- An index of a partitioned table is neither built nor dropped concurrently.
-- squawk-ignore-file require-concurrent-index-creation, require-concurrent-index-deletion

SET LOCAL ROLE clonedb_owner;

DROP INDEX clonedb.audit_logs_subject;
DROP INDEX clonedb.audit_logs_action;
DROP INDEX clonedb.audit_logs_resource;
DROP INDEX clonedb.audit_logs_failures;

CREATE INDEX audit_logs_subject ON clonedb.audit_logs (subject_ref, created_at DESC, id DESC);
COMMENT ON INDEX clonedb.audit_logs_subject IS 'Entries about one person, newest first.';

CREATE INDEX audit_logs_action ON clonedb.audit_logs (action, created_at DESC, id DESC);
COMMENT ON INDEX clonedb.audit_logs_action IS 'Entries of one action, newest first.';

CREATE INDEX audit_logs_resource ON clonedb.audit_logs (resource, created_at DESC, id DESC);
COMMENT ON INDEX clonedb.audit_logs_resource IS 'Entries about one thing, newest first.';

CREATE INDEX audit_logs_failures ON clonedb.audit_logs (created_at DESC, id DESC)
WHERE result = 'failure';
COMMENT ON INDEX clonedb.audit_logs_failures IS 'What failed, newest first.';
