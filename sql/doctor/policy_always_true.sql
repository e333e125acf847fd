-- name: find()
-- Policies that hold for all rows, of logins that are not meant to see all.
SELECT
    p.polrelid::regclass::text AS object,
    quote_ident(p.polname) AS policy
FROM pg_catalog.pg_policy AS p
INNER JOIN pg_catalog.pg_class AS c ON c.oid = p.polrelid
WHERE c.relnamespace = 'clonedb'::regnamespace
    AND p.polpermissive
    AND NOT p.polroles <@ ARRAY(
        SELECT r.oid
        FROM pg_catalog.pg_roles AS r
        WHERE r.rolname IN (
            'clonedb_owner', 'clonedb_worker', 'clonedb_dba', 'clonedb_backup', 'clonedb_readonly'
        )
    )
    AND (
        pg_get_expr(p.polqual, p.polrelid) = 'true'
        OR pg_get_expr(p.polwithcheck, p.polrelid) = 'true'
        OR NOT EXISTS (
            SELECT 1
            FROM pg_catalog.pg_depend AS d
            WHERE d.classid = 'pg_catalog.pg_policy'::regclass
                AND d.objid = p.oid
                AND d.refclassid = 'pg_catalog.pg_class'::regclass
                AND d.refobjid = p.polrelid
                AND d.refobjsubid > 0
        )
    )
ORDER BY object, policy;
