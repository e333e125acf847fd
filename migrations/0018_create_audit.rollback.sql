-- Drops the audit log, all months, with its details and seals, and the functions of its months.

SET LOCAL ROLE clonedb_owner;

DROP FUNCTION clonedb.audit_months_ahead();
DROP FUNCTION clonedb.create_audit_partitions(date, integer);
DROP FUNCTION clonedb.acting_ref(uuid);
DROP TABLE clonedb.audit_seals;
DROP TABLE clonedb.audit_subjects;
DROP TABLE clonedb.audit_logs;
