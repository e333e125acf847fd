-- name: find()
-- CREATE on the schemas, of others than those who migrate.
SELECT
    quote_ident(n.nspname) AS object,
    CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS grantee
FROM pg_catalog.pg_namespace AS n
CROSS JOIN LATERAL aclexplode(n.nspacl) AS a
WHERE n.nspname IN ('clonedb', 'public')
    AND a.privilege_type = 'CREATE'
    AND a.grantee <> n.nspowner
    AND a.grantee NOT IN (
        SELECT r.oid
        FROM pg_catalog.pg_roles AS r
        WHERE r.rolname IN ('clonedb_owner', 'clonedb_migrator') OR r.rolsuper
    )
ORDER BY object, grantee;
