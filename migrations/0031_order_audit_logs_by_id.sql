-- Indexes the audit log by id where it was indexed by time.
-- depends: 0030_add_document_ids_to_llm_responses
-- why: the months are ranges of ids, and the ids are in the order of time. Ordered by id, a page
--   reads the newest month and stops; ordered by created_at it has to look into every month. The
--   primary key then serves pages that nothing narrows.
-- phase: before deploy
-- locks: ACCESS EXCLUSIVE on clonedb.audit_logs while the indexes are built: seconds for each
--   million entries
-- rollback: builds the indexes by time again

-- An index of a partitioned table is neither built nor dropped concurrently.
-- squawk-ignore-file require-concurrent-index-creation, require-concurrent-index-deletion

SET LOCAL ROLE clonedb_owner;

DROP INDEX clonedb.audit_logs_subject;
DROP INDEX clonedb.audit_logs_action;
DROP INDEX clonedb.audit_logs_resource;
DROP INDEX clonedb.audit_logs_failures;

CREATE INDEX audit_logs_subject ON clonedb.audit_logs (subject_ref, id DESC);
COMMENT ON INDEX clonedb.audit_logs_subject IS 'Entries about one person, newest first.';

CREATE INDEX audit_logs_action ON clonedb.audit_logs (action, id DESC);
COMMENT ON INDEX clonedb.audit_logs_action IS 'Entries of one action, newest first.';

CREATE INDEX audit_logs_resource ON clonedb.audit_logs (resource, id DESC);
COMMENT ON INDEX clonedb.audit_logs_resource IS 'Entries about one thing, newest first.';

CREATE INDEX audit_logs_failures ON clonedb.audit_logs (id DESC) WHERE result = 'failure';
COMMENT ON INDEX clonedb.audit_logs_failures IS 'What failed, newest first.';
