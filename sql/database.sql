-- The database itself: what a login learns when it opens, and what health reports.

-- name: applied_migrations()
-- The ids of the migrations that yoyo has applied, in order.
SELECT m.migration_id
FROM public._yoyo_migration AS m
WHERE m.migration_id IS NOT NULL
ORDER BY m.migration_id;

-- name: health()^
-- Whether the server is a standby, for how many months partitions stand ready, whether one was left
-- half detached, and what is deleted by a retention policy.
SELECT
    pg_is_in_recovery() AS in_recovery,
    clonedb.turn_months_ahead() AS turn_months_ahead,
    clonedb.audit_months_ahead() AS audit_months_ahead,
    ARRAY(
        SELECT i.inhrelid::regclass::text
        FROM pg_inherits AS i
        WHERE i.inhdetachpending
        ORDER BY i.inhrelid
    ) AS half_detached_months,
    ARRAY(
        SELECT p.name
        FROM clonedb.retention_policies AS p
        WHERE p.enabled
        ORDER BY p.name
    ) AS retention_enabled,
    current_user::text AS login;
