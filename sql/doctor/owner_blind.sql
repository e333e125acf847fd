-- name: find()
-- Tables with policies of which none gives the owner every row.
SELECT c.oid::regclass::text AS object
FROM pg_catalog.pg_class AS c
WHERE c.relnamespace = 'clonedb'::regnamespace
    AND c.relkind IN ('r', 'p')
    AND c.relrowsecurity
    AND c.relforcerowsecurity
    AND EXISTS (
        SELECT 1
        FROM pg_catalog.pg_policy AS p
        WHERE p.polrelid = c.oid
    )
    AND NOT EXISTS (
        SELECT 1
        FROM pg_catalog.pg_policy AS p
        WHERE p.polrelid = c.oid
            AND p.polpermissive
            AND p.polcmd = '*'
            AND pg_get_expr(p.polqual, p.polrelid) = 'true'
            AND ('clonedb_owner'::regrole = ANY(p.polroles) OR 0::oid = ANY(p.polroles))
    )
ORDER BY object;
