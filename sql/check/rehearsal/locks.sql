-- The locks on relations ($2) that a session ($1, or this one where it is NULL) has or waits for.
SELECT
    l.relation::bigint AS relation,
    l.mode,
    l.granted
FROM pg_catalog.pg_locks AS l
WHERE l.locktype = 'relation'
    AND l.pid = coalesce($1::int, pg_backend_pid())
    AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = current_database())
    AND l.relation = ANY($2::bigint[]::oid[]);
