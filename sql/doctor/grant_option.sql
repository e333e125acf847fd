-- name: find()
-- Rights WITH GRANT OPTION on tables, columns and functions, of others than the owner.
SELECT
    c.oid::regclass::text AS object,
    'TABLE' AS kind,
    a.privilege_type AS privilege,
    a.grantee::regrole::text AS grantee
FROM pg_catalog.pg_class AS c
CROSS JOIN LATERAL aclexplode(c.relacl) AS a
WHERE c.relnamespace = 'clonedb'::regnamespace
    AND c.relkind IN ('r', 'p', 'v')
    AND NOT c.relispartition
    AND a.is_grantable
    AND a.grantee <> c.relowner
UNION ALL
SELECT
    c.oid::regclass::text AS object,
    'TABLE' AS kind,
    format('%s (%I)', a.privilege_type, t.attname) AS privilege,
    a.grantee::regrole::text AS grantee
FROM pg_catalog.pg_class AS c
INNER JOIN pg_catalog.pg_attribute AS t
    ON t.attrelid = c.oid AND t.attacl IS NOT NULL
CROSS JOIN LATERAL aclexplode(t.attacl) AS a
WHERE c.relnamespace = 'clonedb'::regnamespace
    AND NOT c.relispartition
    AND a.is_grantable
    AND a.grantee <> c.relowner
UNION ALL
SELECT
    f.oid::regprocedure::text AS object,
    'ROUTINE' AS kind,
    a.privilege_type AS privilege,
    a.grantee::regrole::text AS grantee
FROM pg_catalog.pg_proc AS f
CROSS JOIN LATERAL aclexplode(f.proacl) AS a
WHERE f.pronamespace = 'clonedb'::regnamespace
    AND a.is_grantable
    AND a.grantee <> f.proowner
ORDER BY object, grantee, privilege;
