-- name: find()
-- The owner, where it is a login.
SELECT r.oid::regrole::text AS object
FROM pg_catalog.pg_roles AS r
WHERE r.rolname = 'clonedb_owner'
    AND r.rolcanlogin;
