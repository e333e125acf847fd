-- name: find()
-- Definer functions and procedures of superusers, and of roles that pass row-level security.
SELECT
    f.oid::regprocedure::text AS object,
    f.proowner::regrole::text AS owner
FROM pg_catalog.pg_proc AS f
INNER JOIN pg_catalog.pg_roles AS r ON r.oid = f.proowner
WHERE f.pronamespace = 'clonedb'::regnamespace
    AND f.prosecdef
    AND f.prokind <> 'a'
    AND (r.rolsuper OR r.rolbypassrls)
ORDER BY object;
