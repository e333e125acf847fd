-- Partitions: the months that turns and audit records can be written to, and those that are over.

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

-- name: find_expired(policy, now)
-- The months that a retention policy is over for, what was begun and then the oldest first, each with
-- the statement that comes next for it. The owner's connection sends that by itself: DETACH
-- CONCURRENTLY runs in no transaction.
-- lane: pool
SELECT
    e.month,
    e.state,
    e.marked,
    e.statement
FROM clonedb.expired_months(coalesce(:now::timestamptz, statement_timestamp())) AS e
WHERE e.policy = :policy::text;

-- name: mark_expired(policy, month, now)$
-- Marks a month as one to be dropped, and puts that on record; for the owner alone.
-- access: write
-- lane: pool
SELECT clonedb.mark_expired_month(
    :policy::text,
    :month::date,
    coalesce(:now::timestamptz, statement_timestamp())
);

-- name: try_lock(policy)$
-- Whether this session is the one that takes months of a table away, until it ends.
-- lane: pool
-- access: write
SELECT pg_try_advisory_lock(hashtextextended('clonedb expired months ' || :policy::text, 0));
