-- Drops the function that seals the audit log.

SET LOCAL ROLE clonedb_owner;

DROP FUNCTION clonedb.seal_audit_logs(integer);
