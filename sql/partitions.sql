-- Partitions: the months that turns and audit records can be written to.

-- name: create_audit_months(from_month, months)$
-- Makes the months of the audit log that are missing, and returns how many were made.
-- access: write
-- lane: pool
SELECT clonedb.create_audit_partitions(:from_month::date, :months::integer);

-- name: create_turn_months(from_month, months)$
-- Makes the months of conversation turns that are missing, and returns how many were made.
-- access: write
-- lane: pool
SELECT clonedb.create_turn_partitions(:from_month::date, :months::integer);
