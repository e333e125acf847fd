-- name: find()
-- TEMPORARY and CREATE on this database, of others than those who migrate.
SELECT
    quote_ident(d.datname) AS object,
    a.privilege_type AS privilege,
    CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS grantee
FROM pg_catalog.pg_database AS d
CROSS JOIN LATERAL aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) AS a
WHERE d.datname = current_database()
    AND a.privilege_type IN ('TEMPORARY', 'CREATE')
    AND a.grantee <> d.datdba
    AND a.grantee NOT IN (
        SELECT r.oid
        FROM pg_catalog.pg_roles AS r
        WHERE r.rolname IN ('clonedb_owner', 'clonedb_migrator') OR r.rolsuper
    )
ORDER BY privilege, grantee;
