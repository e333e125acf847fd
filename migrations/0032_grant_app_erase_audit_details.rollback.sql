-- Takes from the app login the right to erase details of audit entries.

SET LOCAL ROLE clonedb_owner;

REVOKE DELETE ON clonedb.audit_subjects FROM clonedb_app;
